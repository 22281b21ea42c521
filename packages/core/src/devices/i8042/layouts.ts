/**
 * From text to keys, by the layout that the guest has set. `us`: the American one. `kr`: the same keys, whose second
 * letters are Hangul's in the order of KS X 5002 (two sets); runs of Hangul are typed between two presses of the Hangul
 * key, which is how a guest's input method, switched to Latin, expects them.
 */
import { usageOf } from "./scan-codes.ts";

export const KEYBOARD_LAYOUTS = ["us", "kr"] as const;
export type KeyboardLayout = (typeof KEYBOARD_LAYOUTS)[number];

export class KeyError extends Error {
  override readonly name = "KeyError";
  readonly code = "bad-key";
}

/** A key, with shift or without. */
export interface Stroke {
  readonly usage: number;
  readonly isShifted: boolean;
}

const PLAIN: Readonly<Record<string, string>> = {
  "\n": "enter",
  "\r": "enter",
  "\t": "tab",
  "\b": "backspace",
  "\u001b": "esc",
  " ": "space",
  "-": "minus",
  "=": "equal",
  "[": "leftbrace",
  "]": "rightbrace",
  "\\": "backslash",
  ";": "semicolon",
  "'": "apostrophe",
  "`": "grave",
  ",": "comma",
  ".": "dot",
  "/": "slash",
};
const SHIFTED: Readonly<Record<string, string>> = {
  "!": "1",
  "@": "2",
  "#": "3",
  $: "4",
  "%": "5",
  "^": "6",
  "&": "7",
  "*": "8",
  "(": "9",
  ")": "0",
  _: "minus",
  "+": "equal",
  "{": "leftbrace",
  "}": "rightbrace",
  "|": "backslash",
  ":": "semicolon",
  '"': "apostrophe",
  "~": "grave",
  "<": "comma",
  ">": "dot",
  "?": "slash",
};

const INITIALS = "r R s e E f a q Q t T d w W c z x v g".split(" ");
const VOWELS = "k o i O j p u P h hk ho hl y n nj np nl b m ml l".split(" ");
const FINALS = ["", ..."r R rt s sw sg e f fr fa fq ft fx fv fg a q qt t T d w c z x v g".split(" ")];
/** The consonants of "Hangul compatibility jamo", from U+3131 on; vowels follow from U+314F. */
const CONSONANTS = "r R rt s sw sg e E f fr fa fq ft fx fv fg a q Q qt t T d w W c z x v g".split(" ");
const SYLLABLES = { first: 0xac00, last: 0xd7a3 } as const;
const JAMO = { consonant: 0x3131, vowel: 0x314f, last: 0x3163 } as const;

/** Throws KeyError for a character that the layout has no key for. */
export function strokesOf(text: string, layout: KeyboardLayout): Stroke[] {
  const strokes: Stroke[] = [];
  const hangulKey: Stroke = { usage: usageOf("hangul")!, isShifted: false };
  let isHangul = false;
  for (const character of text.normalize("NFC")) {
    const letters = layout === "kr" ? hangulLetters(character) : undefined;
    if ((letters !== undefined) !== isHangul) {
      strokes.push(hangulKey);
      isHangul = !isHangul;
    }
    if (letters !== undefined) for (const letter of letters) strokes.push(latin(letter, layout)!);
    else {
      const stroke = latin(character, layout);
      if (!stroke) {
        throw new KeyError(
          `The ${layout} keyboard has no key for ${JSON.stringify(character)}. Leave it out, or choose a layout that has it (${KEYBOARD_LAYOUTS.join(", ")}).`,
        );
      }
      strokes.push(stroke);
    }
  }
  if (isHangul) strokes.push(hangulKey);
  return strokes;
}

function latin(character: string, layout: KeyboardLayout): Stroke | undefined {
  if (/^[A-Z]$/.test(character)) return { usage: usageOf(character)!, isShifted: true };
  if (/^[a-z0-9]$/.test(character)) return { usage: usageOf(character)!, isShifted: false };
  if (layout === "kr" && character === "₩") return { usage: usageOf("backslash")!, isShifted: false };
  const plain = Object.hasOwn(PLAIN, character) ? PLAIN[character] : undefined;
  if (plain !== undefined) return { usage: usageOf(plain)!, isShifted: false };
  const shifted = Object.hasOwn(SHIFTED, character) ? SHIFTED[character] : undefined;
  return shifted === undefined ? undefined : { usage: usageOf(shifted)!, isShifted: true };
}

/** The keys of a syllable or a letter; undefined for what is not Hangul. */
function hangulLetters(character: string): string | undefined {
  const code = character.codePointAt(0)!;
  if (code >= SYLLABLES.first && code <= SYLLABLES.last) {
    const index = code - SYLLABLES.first;
    const vowel = Math.floor(index / FINALS.length) % VOWELS.length;
    return `${INITIALS[Math.floor(index / FINALS.length / VOWELS.length)]!}${VOWELS[vowel]!}${FINALS[index % FINALS.length]!}`;
  }
  if (code >= JAMO.consonant && code < JAMO.vowel) return CONSONANTS[code - JAMO.consonant];
  if (code >= JAMO.vowel && code <= JAMO.last) return VOWELS[code - JAMO.vowel];
  return undefined;
}
