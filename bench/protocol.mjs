// Reads what the guest printed: its `@@` lines, each with the host's clock and the CPU seconds of the process so far.
//   @@BOOTED              user space is there
//   @@S name hash         checksum of a kernel's results, before and after its timed sections
//   @@B name              a section begins;  @@T name  the timed part is over (before the output is hashed)
//   @@E name n wall cpu facts..   it ends: n operations, the guest's nanoseconds, rc= and out= to compare
//   @@SET suffix          the kernels that follow are another build and get that suffix
//   @@RC name status      exit status of the kernels' program;  @@ALLDONE, @@UPTIME  the end
// Facts are everything that has to be equal on every side.

/**
 * @param events [{ wall, cpu, text }] in seconds, in the order of arrival
 * @param clock "host": the stamps are the times. "guest": the guest's own figures are (a native run)
 * @returns { sections: Map name -> { wall: seconds per operation [], cpu: [] }, facts: Map name -> Set, boot, done }
 */
export function readEvents(events, clock = "host") {
  const sections = new Map();
  const facts = new Map();
  const state = fact(facts);
  let boot;
  let done = false;
  let suffix = "";
  let open;
  for (const event of events) {
    const [kind, word, ...rest] = event.text.split(" ");
    const name = word === undefined ? "" : word + suffix;
    if (kind === "@@SET") suffix = `_${word}`;
    else if (kind === "@@BOOTED") boot ??= { wall: event.wall, cpu: event.cpu };
    else if (kind === "@@ALLDONE") done = true;
    else if (kind === "@@S") state(name, `checksum=${rest.join(" ")}`);
    else if (kind === "@@RC") state(`exit of ${word}`, `rc=${rest.join(" ")}`);
    else if (kind === "@@B") {
      if (open !== undefined) state(open.name, "did not end");
      open = { name, begin: event, stop: undefined };
    } else if (kind === "@@T" && open?.name === name) open.stop = event;
    else if (kind === "@@E") {
      const times = timesOf(open?.name === name ? open : undefined, event, rest, clock);
      if (times === undefined) state(name, `cannot be read: ${event.text}`);
      else {
        const section = sections.get(name) ?? { wall: [], cpu: [] };
        sections.set(name, section);
        section.wall.push(times.wall);
        section.cpu.push(times.cpu);
        for (const item of rest.slice(3)) state(name, item);
      }
      open = undefined;
    }
  }
  if (open !== undefined) state(open.name, "did not end");
  return { sections, facts, boot, done };
}

function timesOf(open, end, [n, wallNs, cpuNs], clock) {
  const count = Number(n);
  const guest = { wall: Number(wallNs) / 1e9, cpu: Number(cpuNs) / 1e9 };
  if (open === undefined || !(count >= 1) || !Number.isFinite(guest.wall + guest.cpu)) return undefined;
  const stop = open.stop ?? end;
  const total = clock === "guest" ? guest : { wall: stop.wall - open.begin.wall, cpu: stop.cpu - open.begin.cpu };
  // A section shorter than the clock's step must not become a ratio of nothing.
  return { wall: Math.max(total.wall, 1e-9) / count, cpu: Math.max(total.cpu, 1e-9) / count };
}

function fact(facts) {
  return (name, text) => {
    const all = facts.get(name) ?? new Set();
    facts.set(name, all);
    all.add(text);
  };
}
