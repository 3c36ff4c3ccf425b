/** Rules that several schemas share. For CEL rules the API server does not show what it found, so the messages do. */

import type { Rule } from './schema.ts'

/**
 * The rule with what was found at the end of its message. `found` is a CEL expression that gives text, of a length that
 * the API server can tell beforehand: a number that is turned into text has none, and makes the rule too dear.
 */
export function showing(rule: Rule, found: string): Rule {
  return { ...rule, messageExpression: `${literal(`${rule.message} (`)} + (${found}) + ')'` }
}

/** For a field that is always there. `text` is a CEL expression that makes it text, in which `{}` stands for it. */
export function fixed(field: string, whyAndCure: string, text = '{}'): Rule {
  const [was, is] = ['oldSelf', 'self'].map((value) => text.replaceAll('{}', value))
  const rule = { rule: 'self == oldSelf', message: `${field} cannot be changed${whyAndCure}` }
  return showing(rule, `'was "' + ${was} + '", found "' + ${is} + '"'`)
}

/** Exactly one of two optional fields. */
export function exactlyOne(one: string, other: string, cure: string): Rule {
  const rule = {
    rule: `has(self.${one}) != has(self.${other})`,
    message: `exactly one of ${one} and ${other} must be set: ${cure}`,
  }
  return showing(rule, `has(self.${one}) ? 'found both' : 'found neither'`)
}

/** Text that is made of certain characters. */
export function matching(pattern: string, message: string): Rule {
  return showing({ rule: `self.matches(r'${pattern}')`, message }, `'found "' + self + '"'`)
}

function literal(text: string): string {
  return JSON.stringify(text)
}
