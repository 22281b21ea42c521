import { expect, test } from "vitest";
import { parseCpu } from "./cpu-choice.ts";

test("a model, with more and with less", () => {
  expect(parseCpu("portable-v1")).toEqual([]);
  expect(parseCpu("portable-v1,+sha,+aes,-rdrand,+aes")).toEqual(["-rdrand", "aes", "sha"]);
});

test.each([
  ["host", /no CPU model "host". Possible: portable-v1/],
  ["", /no CPU model/],
  ["portable-v1,aes", /write \+aes or -aes/],
  ["portable-v1,+avx", /no CPU feature "avx" to choose. Possible are, to add: adx, aes,/],
  ["portable-v1,-sse2", /no CPU feature "sse2"/],
  ["portable-v1,+bmi1", /has bmi1 already/],
  ["portable-v1,-aes", /no aes that could be taken away/],
  ["portable-v1,-xsave", /xsaveopt needs xsave/],
])("%s is refused", (text, message) => {
  expect(() => parseCpu(text)).toThrow(message);
});
