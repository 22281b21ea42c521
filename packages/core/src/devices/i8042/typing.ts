/** Text and key names as what the keyboard's channel takes: two bytes for each press and each release (controller.ts). */
import { type KeyboardLayout, KeyError, strokesOf } from "./layouts.ts";
import { keyNames, usageOf } from "./scan-codes.ts";

/** Characters of one text: what the keyboard's queue holds, at the most events that one may need. */
export const MAX_TYPED_CHARACTERS = 1000;

/** Throws KeyError for a text that the layout cannot type, or a longer one. */
export function typedText(text: string, layout: KeyboardLayout = "us"): Uint8Array {
  if (text.length > MAX_TYPED_CHARACTERS) {
    throw new KeyError(
      `${text.length} characters are too many for one text. Type at most ${MAX_TYPED_CHARACTERS} at a time.`,
    );
  }
  const shift = usageOf("shift")!;
  const events: number[] = [];
  for (const { usage, isShifted } of strokesOf(text, layout)) {
    if (isShifted) events.push(shift, 1);
    events.push(usage, 1, usage, 0);
    if (isShifted) events.push(shift, 0);
  }
  return Uint8Array.from(events);
}

/** Keys held together and let go in the opposite order: "ctrl-alt-delete", "f2". Throws KeyError. */
export function pressedKeys(combination: string): Uint8Array {
  const usages = combination.split("-").map((name) => {
    const usage = usageOf(name);
    if (usage === undefined)
      throw new KeyError(`There is no key ${JSON.stringify(name)}. Keys are: ${keyNames().join(" ")}.`);
    return usage;
  });
  return Uint8Array.from([
    ...usages.flatMap((usage) => [usage, 1]),
    ...usages.toReversed().flatMap((usage) => [usage, 0]),
  ]);
}
