import { expect, it } from 'vitest'
import { arrayToJSON } from './array-text.ts'

it.each([
  ['{}', 'text', '[]'],
  ['{a,b}', 'text', '["a","b"]'],
  ['{NULL,"NULL",null}', 'text', '[null,"NULL","null"]'],
  ['{"a b","","\\"q\\"","\\\\","{}",","}', 'text', '["a b","","\\"q\\"","\\\\","{}",","]'],
  ['{{1,2},{3,NULL}}', 'number', '[[1,2],[3,null]]'],
  ['[2:3]={1,-2.50}', 'number', '[1,-2.50]'],
  ['[0:0][1:2]={{1,2}}', 'number', '[[1,2]]'],
  ['{NaN,Infinity,-Infinity,1e+300,-0}', 'number', '["NaN","Infinity","-Infinity",1e+300,-0]'],
  ['{t,f,NULL}', 'boolean', '[true,false,null]'],
  ['{"x\ny\t\u0001"}', 'text', '["x\\ny\\t\\u0001"]'],
] as const)('makes JSON of %s', (text, element, json) => {
  expect(arrayToJSON(text, element)).toBe(json)
})
