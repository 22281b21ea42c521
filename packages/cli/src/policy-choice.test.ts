import { describe, expect, it } from "vitest";
import { RUN_OPTIONS } from "./commands/run.ts";
import { parseLine } from "./options.ts";
import { fillIn } from "./policy-choice.ts";
import type { Policy } from "./vm-library.ts";

const POLICY: Policy = {
  defaults: {
    memoryBytes: 2 ** 28,
    cpus: 2,
    limits: { cpu: 0.5, wallMs: 60_000 },
    disks: { bytesPerSecond: 1e6 },
    networks: { bytesPerSecond: 1e6 },
  },
  egress: ["mirror.example.org:80"],
  ttlMs: 3_600_000,
  restart: { onCrash: "restart", onReboot: "stop" },
};

function filled(words: string, isKept = false) {
  const { values, findings } = fillIn(parseLine(RUN_OPTIONS, words.split(" ").filter(Boolean)), POLICY, isKept);
  return { values, outcomes: Object.fromEntries(findings.map(({ rule, outcome }) => [rule, outcome])) };
}

describe("a policy", () => {
  it("fills in what a VM's options do not say", () => {
    const { values, outcomes } = filled("-d --disk a.img --net user", true);
    expect(values).toMatchObject({
      memory: { bytes: 2 ** 28 },
      cpus: { count: 2 },
      limit: [{ cpu: 0.5, wallMs: 60_000 }],
      disk: [{ path: "a.img", limits: { bytesPerSecond: 1e6 } }],
      net: [{ to: "user", limits: { toGuest: { bytesPerSecond: 1e6 }, fromGuest: { bytesPerSecond: 1e6 } } }],
      allow: ["mirror.example.org:80"],
      ttl: 3_600_000,
      onCrash: "restart",
      onReboot: "stop",
    });
    expect(new Set(Object.values(outcomes))).toEqual(new Set(["default"]));
  });

  it("leaves what they say, part by part", () => {
    const { values, outcomes } = filled(
      "-m 1G --cpus 1 --limit cpu=2 --disk a.img,rate=5M --net user,rate=2M --allow all --on-reboot restart",
    );
    expect(values).toMatchObject({
      memory: { bytes: 2 ** 30 },
      cpus: { count: 1 },
      limit: [{ cpu: 2, wallMs: 60_000 }],
      disk: [{ limits: { bytesPerSecond: 5 * 2 ** 20 } }],
      net: [{ limits: { toGuest: { bytesPerSecond: 2 * 2 ** 20 } } }],
      allow: ["all"],
      onReboot: "restart",
    });
    expect(outcomes).toMatchObject({
      "defaults.limits.cpu": "given",
      "defaults.limits.wallMs": "default",
      egress: "given",
    });
  });

  it("has nothing for a VM without a network, without disks, on a terminal, or for a recording", () => {
    const { values, outcomes } = filled("--record a.rec");
    expect(values.allow ?? values.ttl ?? values.onCrash ?? values.onReboot).toBeUndefined();
    expect(outcomes).toMatchObject({
      egress: "idle",
      ttlMs: "idle",
      "defaults.disks": "idle",
      "defaults.networks": "idle",
    });
  });

  it("is about the disk and the network that an image brings, too", () => {
    const { values } = filled("debian.qcow2");
    expect(values).toMatchObject({
      memory: { bytes: 2 ** 28 },
      diskLimits: { bytesPerSecond: 1e6 },
      net: [{ to: "user", limits: { toGuest: { bytesPerSecond: 1e6 } } }],
      allow: ["mirror.example.org:80"],
    });
  });
});
