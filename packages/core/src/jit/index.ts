/** `@twinmetal/core/translation`: for what translates guest code. */

export { TranslationCache } from "./translation-cache.ts";
export { translateApart } from "./translator.ts";
