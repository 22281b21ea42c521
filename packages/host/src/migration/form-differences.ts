/** What of a VM's state another machine could not read, in words: devices and versions of their states. */
import type { MigrationObstacle, StateForm } from "@twinmetal/core";

export function formDifferences(source: readonly StateForm[], target: readonly StateForm[]): MigrationObstacle[] {
  const found: MigrationObstacle[] = [];
  const there = new Map(target.map((form) => [form.name, form]));
  for (const { name, schema, version } of source) {
    const theirs = there.get(name);
    there.delete(name);
    if (!theirs || theirs.schema !== schema)
      found.push({ code: "device", message: `The target has no ${name} of the kind ${schema}.` });
    else if (theirs.version !== version) {
      const message = `The state of ${name} has version ${version}; the target reads version ${theirs.version}.`;
      found.push({ code: "version", message });
    }
  }
  for (const name of there.keys())
    found.push({ code: "device", message: `The target has ${name}, which the VM has not.` });
  return found;
}
