export { startControlPlane } from '../cluster/control-plane.ts'
