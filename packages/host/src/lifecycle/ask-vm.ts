/** Asking a running VM by its name, or by the path of its control socket. */
import { existsSync } from "node:fs";
import { askControl } from "../control/control-client.ts";
import type { ControlRequest } from "../control/control-request.ts";
import { LifecycleError } from "./lifecycle-error.ts";
import { hasProcess } from "./states.ts";
import { observeVm } from "./vm-observation.ts";
import { noSuchVm, VmStore } from "./vm-store.ts";

/** A name goes before a file of this folder; ./NAME is the file. Rejects as askControl, and with LifecycleError. */
export async function askVm(
  vm: string,
  request: ControlRequest,
  options: Parameters<typeof askControl>[2] = {},
  store: VmStore = new VmStore(),
): Promise<unknown> {
  if (!(await store.has(vm))) {
    if (!/[/\\]/.test(vm) && !existsSync(vm)) throw noSuchVm(vm);
    return await askControl(vm, request, options);
  }
  const folder = store.folder(vm);
  const { state } = await observeVm(folder);
  if (!hasProcess(state)) {
    throw new LifecycleError("bad-state", `VM ${vm} is ${state}. Start it first: twinmetal start ${vm}`);
  }
  return await askControl(folder.socket, request, options);
}
