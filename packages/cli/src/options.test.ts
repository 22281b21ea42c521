import { describe, expect, it } from "vitest";
import { choice, flag, option, optionalChoice, parseLine } from "./options.ts";
import { parseSize } from "./quantities.ts";
import { closest } from "./suggestion.ts";

const SPECS = {
  memory: option("memory", "SIZE", "", parseSize, "m"),
  append: option("append", "STR", ""),
  clock: choice("clock", ["wall", "virtual"], ""),
  stats: flag("stats", ""),
  balloon: optionalChoice("balloon", "manual", ["manual", "auto"], ""),
};
const parse = (...args: string[]) =>
  parseLine(SPECS, args, { foreign: { "--disk": "It is not there.", "-mem": "Here it is: -m." } });

describe("a command line", () => {
  it("takes values after a space, an equals sign, or a letter", () => {
    for (const args of [["--memory", "1K"], ["--memory=1K"], ["-m", "1K"], ["-m1K"]]) {
      expect(parse(...args).values.memory).toBe(1024);
    }
  });

  it("takes a value that may be left out after an equals sign only", () => {
    expect(parse("--balloon", "tiny")).toMatchObject({
      ...{ values: { balloon: "manual" }, operands: ["tiny"], texts: { balloon: true } },
    });
    expect(parse("--balloon=auto")).toMatchObject({ values: { balloon: "auto" }, texts: { balloon: "auto" } });
    expect(() => parse("--balloon=tiny")).toThrow('--balloon: "tiny" is not one of manual, auto.');
  });

  it("mixes options and operands, and leaves what follows -- alone", () => {
    const { values, operands, rest } = parse("tiny", "--stats", "x", "--", "ls", "--stats", "--");
    expect(values).toEqual({ stats: true });
    expect(operands).toEqual(["tiny", "x"]);
    expect(rest).toEqual(["ls", "--stats", "--"]);
  });

  it("takes values that look like options of somebody else", () => {
    expect(parse("--append", "--panic -1").values.append).toBe("--panic -1");
    expect(() => parse("--append=")).toThrow("--append: the value is empty.");
  });

  it("counts the last of several", () => expect(parse("-m1K", "-m2K").values.memory).toBe(2048));

  it.each([
    [["--memroy", "1K"], "there is no option --memroy. Did you mean --memory?"],
    [["--frobnicate"], "there is no option --frobnicate."],
    [["-x"], "there is no option -x."],
    [["--disk", "a"], "there is no option --disk. It is not there."],
    [["--disk=a"], "there is no option --disk. It is not there."],
    [["-mem", "1K"], "there is no option -mem. Here it is: -m."],
    [["-append", "a"], "there is no option -append. Did you mean --append?"],
    [["-p80"], "there is no option -p."],
    [["--memory"], "--memory needs a value: --memory SIZE."],
    [["--memory", "--stats"], "--memory needs a value: --memory SIZE."],
    [["--stats=1"], "--stats takes no value."],
    [["--clock", "x"], '--clock: "x" is not one of wall, virtual.'],
    [["-m", "x"], '-m: "x" is not a size. Give a number with K, M or G, such as 512M or 1.5G.'],
  ])("refuses %j", (args, message) => expect(() => parse(...args)).toThrow(message));
});

describe("a suggestion", () => {
  it("is near, or none", () => {
    const names = ["--memory", "--kernel", "--timeout", "-m"];
    expect(closest("--mem", names)).toBe("--memory");
    expect(closest("--kernle", names)).toBe("--kernel");
    expect(closest("--time-out", names)).toBe("--timeout");
    expect(closest("--zzz", names)).toBeUndefined();
    expect(closest("-", names)).toBeUndefined();
  });
});
