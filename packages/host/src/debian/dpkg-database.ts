/**
 * dpkg's database for packages that are unpacked, and configured where that takes no script (/var/lib/dpkg: dpkg(1), deb-control(5), deb-triggers(5)):
 * status, and for each package its list of files and the control files that are not `control`; who is interested in which
 * trigger. Configuration files are already in their place, as dpkg's own `--configure` leaves them.
 */
import { createHash } from "node:crypto";
import { ImageError } from "../image/image-error.ts";
import type { LayerTree } from "../image/layer-tree.ts";

export interface UnpackedPackage {
  /** The control archive's files by name. */
  readonly control: ReadonlyMap<string, Buffer>;
  /** What it has unpacked, in its order. */
  readonly paths: readonly string[];
  readonly tree: LayerTree;
  readonly origin: string;
  /** Its script needs not run: what it does is done otherwise. A package without one is configured in any case. */
  readonly isConfigured: boolean;
}

export class DpkgDatabase {
  readonly #paragraphs: string[] = [];
  readonly #files = new Map<string, string | Buffer>([["info/format", "1\n"]]);
  /** By trigger; one that is a path is a file's. */
  readonly #interests = new Map<string, string[]>();

  /** Of those that are not configured. */
  unconfigured = 0;

  /** Rejects with ImageError. */
  async add({ control, paths, tree, origin, isConfigured }: UnpackedPackage): Promise<void> {
    const fields = control.get("control")?.toString("utf8").trimEnd() ?? "";
    const field = (name: string): string => new RegExp(`^${name}: *(\\S+) *$`, "m").exec(fields)?.[1] ?? "";
    const name = field("Package");
    if (!/^[a-z0-9][a-z0-9.+-]+$/.test(name)) {
      throw new ImageError("IMAGE_MALFORMED", `${origin} has no name.`, "Try again with another --mirror.");
    }
    const infoName = field("Multi-Arch") === "same" ? `${name}:${field("Architecture")}` : name;
    const conffiles = (control.get("conffiles")?.toString("utf8") ?? "")
      .split("\n")
      .filter((path) => path.startsWith("/"));
    const hashes: string[] = [];
    for (const path of conffiles) hashes.push(` ${path} ${await md5(tree, path)}`);
    const [first = "", ...rest] = fields.split("\n");
    const status = isConfigured || !control.has("postinst") ? "installed" : "unpacked";
    if (status === "unpacked") this.unconfigured++;
    this.#paragraphs.push(
      [first, `Status: install ok ${status}`, ...rest, ...(hashes.length > 0 ? ["Conffiles:", ...hashes] : [])].join(
        "\n",
      ),
    );
    const listed = paths.map((path) => (path === "" ? "/." : `/${path}`));
    this.#files.set(`info/${infoName}.list`, `${listed.join("\n")}\n`);
    for (const [member, bytes] of control)
      if (member !== "control") this.#files.set(`info/${infoName}.${member}`, bytes);
    this.#addTriggers(infoName, control.get("triggers")?.toString("utf8") ?? "");
  }

  /** By path below /var/lib/dpkg. */
  files(): ReadonlyMap<string, string | Buffer> {
    const lines = (isPath: boolean): [string, string[]][] =>
      [...this.#interests].filter(([trigger]) => trigger.startsWith("/") === isPath);
    const byPath = lines(true).flatMap(([trigger, names]) => names.map((name) => `${trigger} ${name}\n`));
    const named = lines(false).map(([trigger, names]) => [`triggers/${trigger}`, `${names.join("\n")}\n`] as const);
    return new Map<string, string | Buffer>([
      ...this.#files,
      ["status", this.#paragraphs.map((paragraph) => `${paragraph}\n\n`).join("")],
      ["available", ""],
      ["diversions", ""],
      ["statoverride", ""],
      ["triggers/File", byPath.join("")],
      ["triggers/Unincorp", ""],
      ["triggers/Lock", ""],
      ...named,
    ]);
  }

  #addTriggers(name: string, text: string): void {
    for (const [, kind = "", trigger = ""] of text.matchAll(/^\s*interest(-await|-noawait)?\s+(\S+)/gm)) {
      const interested = kind === "-noawait" ? `${name}/noawait` : name;
      this.#interests.set(trigger, [...(this.#interests.get(trigger) ?? []), interested]);
    }
  }
}

async function md5(tree: LayerTree, path: string): Promise<string> {
  const node = tree.find(path)?.node;
  const bytes = new Uint8Array(node?.type === "file" ? node.sizeBytes : 0);
  if (node?.type === "file") await node.read(0, bytes);
  return createHash("md5").update(bytes).digest("hex");
}
