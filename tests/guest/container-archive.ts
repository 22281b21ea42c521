/** Makes container images as `docker save` and OCI layouts have them, of a few files. For tests. */

import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { setChecksum, tarFile } from "./debian-archive.ts";

export interface LayerFile {
  readonly path: string;
  readonly data?: Uint8Array | string;
  /** "0" file (default), "1" hard link, "2" symbolic link, "3" device, "5" directory. */
  readonly typeFlag?: string;
  readonly target?: string;
  readonly mode?: number;
  readonly uid?: number;
}

/** A layer's tar. */
export function layerTar(...files: readonly LayerFile[]): Buffer {
  const entries = files.map(({ path, data = "", typeFlag = "0", target = "", mode = 0o755, uid = 0 }) => {
    const body = Buffer.from(data as Uint8Array);
    const header = Buffer.alloc(512);
    header.write(path, 0, 100, "utf8");
    header.write(mode.toString(8).padStart(7, "0"), 100, "latin1");
    header.write(uid.toString(8).padStart(7, "0"), 108, "latin1");
    header.write(uid.toString(8).padStart(7, "0"), 116, "latin1");
    header.write(body.length.toString(8).padStart(11, "0"), 124, "latin1");
    header.write(typeFlag, 156, "latin1");
    header.write(target, 157, 100, "utf8");
    header.write("ustar\x0000", 257, "latin1");
    setChecksum(header);
    return Buffer.concat([header, body, Buffer.alloc(-body.length & 511)]);
  });
  return Buffer.concat([...entries, Buffer.alloc(1024)]);
}

export interface ContainerParts {
  readonly layers: readonly Buffer[];
  /** "config" of the image configuration. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly architecture?: string;
  /** What is stated instead of the layers' own. */
  readonly diffIds?: readonly string[];
}

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

function configOf({ layers, config = {}, architecture = "amd64", diffIds }: ContainerParts): Buffer {
  const diff_ids = (diffIds ?? layers.map(sha256)).map((hex) => `sha256:${hex}`);
  return Buffer.from(JSON.stringify({ os: "linux", architecture, config, rootfs: { type: "layers", diff_ids } }));
}

/** As `docker save` has it. */
export function dockerArchive(parts: ContainerParts): Buffer {
  const config = configOf(parts);
  const names = parts.layers.map((_, index) => `layer${index}/layer.tar`);
  const manifest = [{ Config: `${sha256(config)}.json`, RepoTags: ["test:latest"], Layers: names }];
  return tarFile(
    ...parts.layers.map((data, index) => ({ path: names[index]!, data })),
    { path: `${sha256(config)}.json`, data: config },
    { path: "manifest.json", data: JSON.stringify(manifest) },
  );
}

/** An OCI image layout, layers by gzip. */
export function ociArchive(parts: ContainerParts): Buffer {
  const config = configOf(parts);
  const layers = parts.layers.map((layer) => gzipSync(layer));
  const describe = (data: Buffer, mediaType: string) => ({
    mediaType,
    digest: `sha256:${sha256(data)}`,
    size: data.length,
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      config: describe(config, "application/vnd.oci.image.config.v1+json"),
      layers: layers.map((layer) => describe(layer, "application/vnd.oci.image.layer.v1.tar+gzip")),
    }),
  );
  const index = { schemaVersion: 2, manifests: [describe(manifest, "application/vnd.oci.image.manifest.v1+json")] };
  return tarFile(
    { path: "oci-layout", data: '{"imageLayoutVersion":"1.0.0"}' },
    { path: "index.json", data: JSON.stringify(index) },
    ...[manifest, config, ...layers].map((data) => ({ path: `blobs/sha256/${sha256(data)}`, data })),
  );
}
