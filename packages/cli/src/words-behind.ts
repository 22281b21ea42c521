/**
 * `PLACE[,word...]`: hands the words to `take` from the last one on, until it answers that one is none of them. What is left
 * is the place: a path may hold commas. `before` is what stands in front of the word.
 */
export function takeWordsBehind(text: string, take: (word: string, before: string) => boolean): string {
  const words = text.split(",");
  while (words.length > 1 && take(words.at(-1)!, words.at(-2)!)) words.pop();
  return words.join(",");
}
