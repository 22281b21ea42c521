/**
 * Packages whose scripts start hundreds of programs for what is a list and some links: that is done in the tree instead, and
 * dpkg is told that they are configured. The hashed names of certificates are made in the guest, by one program.
 */
import type { TreeNode } from "@twinmetal/storage";
import type { DebianRoot } from "./debian-root.ts";

export const CONFIGURED_HERE: ReadonlySet<string> = new Set(["ca-certificates", "locales"]);

const CERTIFICATES = "usr/share/ca-certificates";

/** To be called when all packages are there. */
export async function configureHere(root: DebianRoot): Promise<void> {
  const supported = await root.textOf("usr/share/i18n/SUPPORTED");
  root.addFile("etc/locale.gen", supported.replace(/^(?=\S)/gm, "# "));
  const paths = certificates(root.tree.find(CERTIFICATES)?.node);
  root.addFile("etc/ca-certificates.conf", paths.map((path) => `${path}\n`).join(""));
  let bundle = "";
  for (const path of paths) {
    const name = path.replace(/^.*\//, "").replace(/\.crt$/, ".pem");
    root.addLink(`etc/ssl/certs/${name}`, `/${CERTIFICATES}/${path}`);
    bundle += (await root.textOf(`${CERTIFICATES}/${path}`)).replace(/\n*$/, "\n");
  }
  root.addFile("etc/ssl/certs/ca-certificates.crt", bundle);
}

/** Below their directory, in order. */
function certificates(node: TreeNode | undefined, above = ""): string[] {
  if (node?.type !== "directory") return [];
  return [...node.children]
    .flatMap(([name, child]) =>
      child.type === "directory"
        ? certificates(child, `${above}${name}/`)
        : name.endsWith(".crt")
          ? [above + name]
          : [],
    )
    .sort();
}
