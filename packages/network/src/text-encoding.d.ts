// TextEncoder and TextDecoder (WHATWG Encoding Standard), UTF-8 only, declared by hand: this package compiles with
// neither DOM nor Node types. Node's types declare them too, so the tests' program leaves this file out.

interface TextEncoder {
  encode(text?: string): Uint8Array;
}
declare const TextEncoder: { prototype: TextEncoder; new (): TextEncoder };

interface TextDecoder {
  decode(bytes?: ArrayBufferView): string;
}
declare const TextDecoder: { prototype: TextDecoder; new (): TextDecoder };
