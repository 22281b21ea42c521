/** Finding the pages of RAM that hold nothing, which neither files nor hashes need to contain. */

const PAGE_WORDS = 1024;

/** For regions of whole 4 KiB pages: answers for a page by its index. */
export function zeroPageTest(bytes: Uint8Array): (page: number) => boolean {
  if (bytes.byteOffset % 4 !== 0) {
    return (page) => bytes.subarray(page * 4096, (page + 1) * 4096).every((byte) => byte === 0);
  }
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
  return (page) => {
    let at = page * PAGE_WORDS;
    for (const end = at + PAGE_WORDS; at < end; at += 8) {
      const some =
        words[at]! |
        words[at + 1]! |
        words[at + 2]! |
        words[at + 3]! |
        words[at + 4]! |
        words[at + 5]! |
        words[at + 6]! |
        words[at + 7]!;
      if (some !== 0) return false;
    }
    return true;
  };
}
