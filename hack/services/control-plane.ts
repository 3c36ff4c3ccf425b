export {
  type ControlPlaneHandle,
  type ControlPlaneOptions,
  startControlPlane,
} from '../cluster/control-plane.ts'
