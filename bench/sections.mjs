// The sections of the performance guest and the groups whose geometric means are compared. A kernel's group is fixed;
// whatever else reports an output hash is a program. What --quick runs has members of every group.

export const KERNEL_GROUPS = {
  kernel: ["syscall", "clock", "read4k", "pagefault", "fork", "forkexec", "pipepp", "smc"],
  integer: ["sieve1M", "collatz", "xs64", "idiv32", "sha256", "dhry", "interp", "icall", "fib"],
  float: ["matmul", "mandel", "fdivsqrt", "sse2int", "matmul_sse", "mandel_sse", "fdivsqrt_sse"],
  memory: ["atomic", "memcpy", "repmovsb", "wordcopy", "chase16k", "chase4m", "chase64m"],
};

/** The 32-bit guest alone has these: the same kernels compiled for SSE2 instead of the x87. */
const ONLY_32_BIT = ["matmul_sse", "mandel_sse", "fdivsqrt_sse"];

export const PROGRAMS = [
  ["sh_loop100k", "sh_fork200", "sh_awk", "gzip6", "gunzip", "bzip2", "bunzip2", "xz2", "unxz", "zstd3", "unzstd"],
  ["7zz_mx5", "7zz_extract", "ossl_sha256", "ossl_aes128", "ossl_rsa2048sign", "sqlite", "py_start3", "py_bench"],
  ["perl_start10", "perl_bench", "sort", "sha256_busybox"],
].flat();

/** Kernels without a checksum: they count operations that failed instead. */
export const COUNTS_FAILURES = ["syscall", "clock", "read4k", "pagefault", "fork", "forkexec", "pipepp"];

export const QUICK = [
  ["sh_fork200", "gzip6", "gunzip", "xz2", "ossl_sha256", "ossl_rsa2048sign", "sqlite", "py_start3", "py_bench"],
  ["perl_start10", "perl_bench", "sort", "syscall", "pagefault", "fork", "pipepp", "smc"],
  ["sieve1M", "collatz", "sha256", "interp", "icall", "fib", "matmul", "mandel", "sse2int", "matmul_sse"],
  ["atomic", "memcpy", "wordcopy", "chase4m"],
].flat();

/** Names of every group's sections for a guest of 32 or 64 bits, of those in `only` if it is given. */
export function groupsFor(bits, only) {
  const here = (name) => (bits === 32 || !ONLY_32_BIT.includes(name)) && (only === undefined || only.includes(name));
  const kernels = Object.entries(KERNEL_GROUPS).map(([group, names]) => [group, names.filter(here)]);
  const all = [["programs", PROGRAMS.filter(here)], ["mbench", kernels.flatMap(([, names]) => names)], ...kernels];
  return Object.fromEntries(all.filter(([, names]) => names.length > 0));
}
