/**
 * Keys of a PC keyboard, by their usage in USB's keyboard page (HID Usage Tables 1.4, chapter 10), with the codes that
 * the keyboard sends in scan code sets 1 and 2 (IBM PS/2 Hardware Interface Technical Reference, "Keyboard"). Korean
 * keyboards' two extra keys send a code when pressed and none when released. Left out: set 3, media keys.
 */

/** Names as `twinmetal type` and `Vm.press` take them. */
export type KeyName = string;

/** "name usage set1 set2", hexadecimal; a code with e0 in front is an extended one. */
const TABLE = `
a 04 1e 1c|b 05 30 32|c 06 2e 21|d 07 20 23|e 08 12 24|f 09 21 2b|g 0a 22 34|h 0b 23 33|i 0c 17 43|j 0d 24 3b
k 0e 25 42|l 0f 26 4b|m 10 32 3a|n 11 31 31|o 12 18 44|p 13 19 4d|q 14 10 15|r 15 13 2d|s 16 1f 1b|t 17 14 2c
u 18 16 3c|v 19 2f 2a|w 1a 11 1d|x 1b 2d 22|y 1c 15 35|z 1d 2c 1a
1 1e 02 16|2 1f 03 1e|3 20 04 26|4 21 05 25|5 22 06 2e|6 23 07 36|7 24 08 3d|8 25 09 3e|9 26 0a 46|0 27 0b 45
enter 28 1c 5a|esc 29 01 76|backspace 2a 0e 66|tab 2b 0f 0d|space 2c 39 29|minus 2d 0c 4e|equal 2e 0d 55
leftbrace 2f 1a 54|rightbrace 30 1b 5b|backslash 31 2b 5d|semicolon 33 27 4c|apostrophe 34 28 52|grave 35 29 0e
comma 36 33 41|dot 37 34 49|slash 38 35 4a|capslock 39 3a 58
f1 3a 3b 05|f2 3b 3c 06|f3 3c 3d 04|f4 3d 3e 0c|f5 3e 3f 03|f6 3f 40 0b|f7 40 41 83|f8 41 42 0a|f9 42 43 01
f10 43 44 09|f11 44 57 78|f12 45 58 07|scrolllock 47 46 7e
insert 49 e052 e070|home 4a e047 e06c|pageup 4b e049 e07d|delete 4c e053 e071|end 4d e04f e069|pagedown 4e e051 e07a
right 4f e04d e074|left 50 e04b e06b|down 51 e050 e072|up 52 e048 e075
numlock 53 45 77|kpslash 54 e035 e04a|kpasterisk 55 37 7c|kpminus 56 4a 7b|kpplus 57 4e 79|kpenter 58 e01c e05a
kp1 59 4f 69|kp2 5a 50 72|kp3 5b 51 7a|kp4 5c 4b 6b|kp5 5d 4c 73|kp6 5e 4d 74|kp7 5f 47 6c|kp8 60 48 75|kp9 61 49 7d
kp0 62 52 70|kpdot 63 53 71|102nd 64 56 61|menu 65 e05d e02f
ctrl e0 1d 14|shift e1 2a 12|alt e2 38 11|meta e3 e05b e01f|rightctrl e4 e01d e014|rightshift e5 36 59
rightalt e6 e038 e011|rightmeta e7 e05c e027`;

interface KeyCodes {
  readonly set1: number;
  readonly set2: number;
}

const CODES = new Map<number, KeyCodes>();
const USAGES = new Map<KeyName, number>();
/** Set 2 to set 1, as the keyboard controller translates. */
const TRANSLATED = Uint8Array.from({ length: 256 }, (_, code) => code);

for (const entry of TABLE.trim().split(/[|\n]/)) {
  const [name = "", ...numbers] = entry.split(" ");
  const [usage = 0, set1 = 0, set2 = 0] = numbers.map((digits) => Number.parseInt(digits, 16));
  USAGES.set(name, usage);
  CODES.set(usage, { set1, set2 });
  TRANSLATED[set2 & 0xff] = set1 & 0xff;
}

const PRINT_SCREEN = 0x46;
const PAUSE = 0x48;
const HANGUL = 0x90;
const HANJA = 0x91;
for (const [name, usage] of [
  ["printscreen", PRINT_SCREEN],
  ["pause", PAUSE],
  ["hangul", HANGUL],
  ["hanja", HANJA],
] as const)
  USAGES.set(name, usage);
// Of print screen with a modifier; what BAT and the identification say stays as it is.
TRANSLATED[0x84] = 0x54;

/** With what is sent for a key that has more than one code. */
const SPECIAL: Readonly<Record<number, { readonly make: readonly number[][]; readonly break: readonly number[][] }>> = {
  [PRINT_SCREEN]: {
    make: [
      [0xe0, 0x2a, 0xe0, 0x37],
      [0xe0, 0x12, 0xe0, 0x7c],
    ],
    break: [
      [0xe0, 0xb7, 0xe0, 0xaa],
      [0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12],
    ],
  },
  [PAUSE]: {
    make: [
      [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5],
      [0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77],
    ],
    break: [[], []],
  },
  [HANGUL]: { make: [[0xf2], [0xf2]], break: [[], []] },
  [HANJA]: { make: [[0xf1], [0xf1]], break: [[], []] },
};

/** Undefined for a name that is none. */
export function usageOf(name: KeyName): number | undefined {
  return USAGES.get(name.toLowerCase());
}

export function keyNames(): KeyName[] {
  return [...USAGES.keys()];
}

/** What the keyboard sends; nothing for a usage that it has not. */
export function scanCodes(usage: number, isPressed: boolean, set: 1 | 2): readonly number[] {
  const special = SPECIAL[usage];
  if (special) return (isPressed ? special.make : special.break)[set - 1]!;
  const codes = CODES.get(usage);
  if (!codes) return [];
  const code = set === 1 ? codes.set1 : codes.set2;
  const prefix = code > 0xff ? [code >> 8] : [];
  if (set === 1) return [...prefix, (code & 0xff) | (isPressed ? 0 : 0x80)];
  return isPressed ? [...prefix, code & 0xff] : [...prefix, 0xf0, code & 0xff];
}

/** A byte of set 2 as the controller hands it on; 0xF0, the release prefix, is the caller's business. */
export function translated(byte: number): number {
  return TRANSLATED[byte]!;
}
