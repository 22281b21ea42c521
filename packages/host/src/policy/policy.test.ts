import { describe, expect, it } from "vitest";
import { admissionFindings } from "./admission.ts";
import { cardUnderPolicy, checkPolicy } from "./policy.ts";

const GOOD = {
  admission: { memoryRatio: 0.8, cpuRatio: 4, maxVms: 10 },
  defaults: {
    memoryBytes: 2 ** 28,
    cpus: 2,
    limits: { cpu: 0.5, cpuWeight: 100, wallMs: 3_600_000, outputBytes: 1e8 },
    disks: { bytesPerSecond: 1e8, burstBytes: 1e9 },
    networks: { bytesPerSecond: 1e7, latencyMs: 5, jitterMs: 5 },
  },
  egress: ["mirror.example.org:80", "*.example.com", "10.0.0.0/8", "all"],
  ttlMs: 86_400_000,
  restart: { onCrash: "restart", onPoweroff: "stop", onReboot: "stop" },
};

describe("a policy", () => {
  it("is taken as it is, and nobody changes it afterwards", () => {
    const given = structuredClone(GOOD);
    const policy = checkPolicy(given);
    given.egress.push("evil.example");
    expect(policy).toEqual(GOOD);
    expect(checkPolicy({})).toEqual({});
    expect(checkPolicy(Object.assign(Object.create(null), { egress: [] }))).toEqual({ egress: [] });
  });

  it.each([
    [null, "The policy has to be an object, and is null"],
    [[], "The policy has to be an object, and is a list"],
    [new Map(), "The policy has to be an object"],
    [{ admision: {} }, "In the policy, admision is unknown; there are admission, defaults"],
    [JSON.parse('{"__proto__": {"egress": []}}'), "In the policy, __proto__ is unknown"],
    [JSON.parse('{"defaults": {"constructor": 1}}'), "In the policy, defaults.constructor is unknown"],
    [
      { admission: { memoryRatio: Number.NaN } },
      "admission.memoryRatio has to be a number from 0.01 to 100, and is NaN",
    ],
    [{ admission: { cpuRatio: Number.POSITIVE_INFINITY } }, "admission.cpuRatio has to be a number"],
    [{ admission: { memoryRatio: "0.8" } }, 'admission.memoryRatio has to be a number from 0.01 to 100, and is "0.8"'],
    [{ admission: { maxVms: 1.5 } }, "admission.maxVms has to be a whole number"],
    [{ admission: { maxVms: -1 } }, "admission.maxVms has to be a whole number"],
    [{ defaults: { memoryBytes: 2 ** 53 } }, "defaults.memoryBytes has to be a whole number"],
    [{ defaults: { memoryBytes: 2 ** 28 + 1 } }, "defaults.memoryBytes has to be whole pages"],
    [{ defaults: { cpus: 9 } }, "defaults.cpus has to be a whole number from 1 to 8"],
    [{ defaults: { limits: { cpu: 65 } } }, "defaults.limits.cpu cannot be: 65 is not a share"],
    [{ defaults: { limits: { cpu: null } } }, "defaults.limits.cpu has to be a number, and is null"],
    [{ defaults: { limits: { memory: 1 } } }, "defaults.limits.memory cannot be"],
    [{ defaults: { disks: { bytesPerSecond: 1 } } }, "defaults.disks.bytesPerSecond cannot be"],
    [{ defaults: { disks: { burstBytes: 5000 } } }, "defaults.disks cannot be: A disk's burstBytes go with"],
    [{ defaults: { networks: { loss: 2 } } }, "defaults.networks.loss cannot be"],
    [{ defaults: { networks: { jitterMs: 5 } } }, "defaults.networks cannot be"],
    [{ egress: "all" }, 'egress has to be a list, and is "all"'],
    [{ egress: ["ok.example", 1] }, "egress[1] has to be a text, and is 1"],
    [{ egress: ["a:b:c"] }, "egress[0] cannot be"],
    [{ egress: Array(1001).fill("a.example") }, "egress has more than 1000 rules"],
    [{ egress: Array(3) }, "egress[0] has to be a text, and is undefined"],
    [{ ttlMs: 1e300 }, "ttlMs has to be a whole number"],
    [{ restart: { onCrash: "RESTART" } }, 'restart.onCrash has to be stop or restart or pause, and is "RESTART"'],
    [{ restart: () => {} }, "restart has to be an object, and is a function"],
    [{ [Symbol("x")]: 1 }, "is unknown"],
  ])("that is none is told where: %o", (value, message) => {
    expect(() => checkPolicy(value)).toThrow(expect.objectContaining({ code: "bad-policy" }));
    expect(() => checkPolicy(value)).toThrow(message);
  });

  it("does not call what a program hides in it", () => {
    const hidden = { ...GOOD, ttlMs: { valueOf: () => 1000, toString: () => "1000" } };
    expect(() => checkPolicy(hidden)).toThrow("ttlMs has to be a whole number");
    expect(({} as { egress?: unknown }).egress).toBeUndefined();
  });
});

describe("admission", () => {
  const host = { memoryBytes: 1000, processors: 2 };
  const running = [
    { memoryBytes: 300, cpus: 1 },
    { memoryBytes: 200, cpus: 3 },
  ];

  it("takes what fits exactly, and nothing more", () => {
    const rules = { memoryRatio: 0.8, cpuRatio: 3, maxVms: 3 };
    const findings = admissionFindings(rules, host, running, { memoryBytes: 300, cpus: 2 });
    expect(findings).toEqual([
      { rule: "memoryRatio", isMet: true, running: 500, wanted: 300, most: 800 },
      { rule: "cpuRatio", isMet: true, running: 4, wanted: 2, most: 6 },
      { rule: "maxVms", isMet: true, running: 2, wanted: 1, most: 3 },
    ]);
    const more = admissionFindings({ ...rules, maxVms: 2 }, host, running, { memoryBytes: 301, cpus: 3 });
    expect(more.map(({ isMet }) => isMet)).toEqual([false, false, false]);
  });

  it("has nothing against anything without rules, and takes no number that is none", () => {
    expect(admissionFindings({}, host, running, { memoryBytes: 1e18, cpus: 8 })).toEqual([]);
    const nothing = admissionFindings({ memoryRatio: 1 }, host, running, { memoryBytes: Number.NaN, cpus: 1 });
    expect(nothing[0]?.isMet).toBe(false);
  });
});

describe("a network card that comes while its VM runs", () => {
  const [user, ruled] = [{ to: "user" } as const, { to: "user", allow: ["b.example"] } as const];

  it("opens nothing that the VM may not already, nor the policy, unless it is said", () => {
    expect(cardUnderPolicy(user, {}, [])).toEqual(user);
    expect(cardUnderPolicy(user, { egress: ["a.example"] }, [])).toEqual({ to: "user", allow: ["a.example"] });
    expect(cardUnderPolicy(user, { egress: [] }, [])).toEqual({ to: "user", allow: [] });
    expect(cardUnderPolicy(user, { egress: ["all"] }, [])).toEqual({ to: "user", egress: "open" });
    expect(cardUnderPolicy(user, { egress: ["a.example"] }, [{ to: "loopback" }, ruled])).toEqual(ruled);
    expect(cardUnderPolicy(user, { egress: ["a.example"] }, [user])).toEqual(user);
    expect(cardUnderPolicy(ruled, { egress: [] }, [user])).toEqual(ruled);
    expect(cardUnderPolicy({ to: "loopback" }, { egress: ["a.example"] }, [ruled])).toEqual({ to: "loopback" });
  });

  it("has the policy's limits where it has none of its own", () => {
    const networks = { latencyMs: 5, loss: 0.1 };
    expect(cardUnderPolicy({ ...user, limits: { fromGuest: { loss: 0 } } }, { defaults: { networks } }, [])).toEqual({
      to: "user",
      limits: { toGuest: networks, fromGuest: { latencyMs: 5, loss: 0 } },
    });
  });
});
