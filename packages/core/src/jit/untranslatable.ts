/** The instruction does something that a region does not do. */
export class Untranslatable extends Error {
  readonly code = "untranslatable";
}
