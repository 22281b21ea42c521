// Programs of a Debian host for a guest: what each is called with, what it reads from standard input, and what it needs
// beside its libraries. All of them print the same on every machine.

export interface Program {
  readonly name: string;
  /** The first one that is there. */
  readonly files: readonly string[];
  readonly arguments: readonly string[];
  readonly input?: string;
  /** Further files, by path. */
  readonly needs?: readonly string[];
}

/** Lines of words and numbers, the same every time. */
function words(lines: number): string {
  let state = 12345;
  const next = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
  const syllables = ["ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "xu"];
  const word = (): string => Array.from({ length: 1 + next(4) }, () => syllables[next(10)]).join("");
  return Array.from({ length: lines }, () => `${word()} ${next(100_000)} ${word()}.${word()}\n`).join("");
}

const PERL = `my (%count, $sum, @stack);
while (my $line = <STDIN>) {
  my ($a, $n, $b) = $line =~ /^(\\w+) (\\d+) (\\S+)$/ or next;
  $count{$a}++; $count{lc reverse $b} += $n % 7; $sum = ($sum * 31 + $n) % 1000003;
  push @stack, sprintf("%05x", $n) if $n =~ /^[1-4]/;
  (my $c = $b) =~ s/([aeiou])/<$1>/g; $sum += length $c;
}
my @best = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
print "$sum @best[0..9] ", join("", @stack[10..20]), "\\n";
sub ack { my ($m, $n) = @_; $m == 0 ? $n + 1 : $n == 0 ? ack($m - 1, 1) : ack($m - 1, ack($m, $n - 1)) }
print ack(2, 40), " ", unpack("%32C*", join ",", map { $_ * $_ } 1..20000), "\\n";`;

const BASH = `declare -A seen; total=0; i=0
while read -r a n b; do
  case $a in b*) seen[$a]=$n ;; *ke) ((total += n % 13)) ;; m?) b=\${b//o/0}; total=$((total + \${#b})) ;; esac
  [[ $b =~ ^(..)(.*)\\.(.*)$ ]] && total=$(((total * 7 + \${#BASH_REMATCH[3]}) % 99991))
done
f() { local n=$1; ((n < 2)) && { r=$n; return; }; f $((n - 1)); local x=$r; f $((n - 2)); ((r += x)); }
f 11; printf '%s %s %q\\n' $total $r "\${!seen[*]}"
for ((i = 0; i < 2000; i++)); do x=$((i ^ (x << 1) & 0xffff)); done; echo $x`;

const AWK = `{ c[$1]++; s = (s * 3 + $2) % 65521; gsub(/[aeiou]/, "&&", $3); l += length($3); split($3, p, "."); u[p[1]] = NR }
END { for (k in c) if (c[k] > m || c[k] == m && k < b) { m = c[k]; b = k } n = 0; for (k in u) n += u[k]
  for (i = 0; i < 30000; i++) { x = x / 3 + i * 0.7; t[i % 97] += i }
  printf "%d %d %s %d %.9f %d\\n", s, l, b, n, x, t[13]; print toupper(substr(b, 2)), index("xukeli", "ke") }`;

const C = `typedef unsigned long size_t;
struct node { struct node *next; int key; char name[12]; };
static int table[64]; enum op { ADD, SUB, MUL, DUP, JNZ, HALT };
int run(const int *code, int fuel) {
  int stack[32], top = 0;
  for (int at = 0; fuel-- > 0; ) switch (code[at++]) {
    case ADD: top--; stack[top - 1] += stack[top]; break;
    case SUB: top--; stack[top - 1] -= stack[top]; break;
    case MUL: top--; stack[top - 1] *= stack[top]; break;
    case DUP: stack[top] = stack[top - 1]; top++; break;
    case JNZ: if (stack[--top]) at = code[at]; else at++; break;
    case HALT: return stack[0];
    default: stack[top++] = code[at - 1] - 100;
  }
  return -1;
}
struct node *insert(struct node *list, struct node *fresh) {
  struct node **at = &list;
  while (*at && (*at)->key < fresh->key) at = &(*at)->next;
  fresh->next = *at; *at = fresh; return list;
}
void matrix(double *restrict a, const double *restrict b, const double *restrict c, int n) {
  for (int i = 0; i < n; i++) for (int j = 0; j < n; j++) {
    double s = 0; for (int k = 0; k < n; k++) s += b[i * n + k] * c[k * n + j]; a[i * n + j] = s; }
}
size_t hash(const char *s) { size_t h = 5381; while (*s) h = h * 33 ^ (size_t)*s++; return h % 64; }
void count(const char **names, int n) { for (int i = 0; i < n; i++) table[hash(names[i])]++; }
`;

const SQL = `create table t(a integer primary key, b text, c real); create index i on t(b);
with recursive n(x) as (select 1 union all select x + 1 from n where x < 4000)
  insert into t select x, printf('%x', x * 7919 % 4001), x / 7.0 from n;
select count(*), sum(a), max(b), printf('%.6f', avg(c)) from t where b like '%a%';
update t set c = c * 2 where a % 3 = 0; delete from t where b < '3';
select b, a from t order by b desc limit 5; select count(*), group_concat(distinct length(b)) from t;
select substr(b, 1, 1) k, count(*), printf('%.3f', sum(c)) from t group by k having count(*) > 20 order by 2, 1;`;

const PYTHON = `import sys
class Node:
    __slots__ = ("left", "right", "key")
    def __init__(self, key): self.left = self.right = None; self.key = key
def insert(root, key):
    while True:
        side = "left" if key < root.key else "right"
        below = getattr(root, side)
        if below is None: setattr(root, side, Node(key)); return
        root = below
def walk(node):
    if node:
        yield from walk(node.left)
        yield node.key
        yield from walk(node.right)
root, count = Node(50000), {}
for line in sys.stdin:
    a, n, b = line.split()
    insert(root, int(n)); count[a] = count.get(a, 0) + 1
    try: count[b[5]] = len(b)
    except IndexError: count[None] = b
keys = list(walk(root))
print(len(keys), keys[::200], sum(k * i for i, k in enumerate(keys)) % 1000003)
print(sorted(count.items(), key=lambda kv: (-kv[1] if isinstance(kv[1], int) else 0, str(kv[0])))[:5])
x = 0.0
for i in range(20000): x = x / 3 + i * 0.7 if i % 3 else x - i // 7
print("%.9f %d" % (x, 3 ** 400 % 10 ** 30), [p for p in range(2, 300) if all(p % q for q in range(2, p))][-3:])`;

const TEXT = words(2000);
const PYTHON_LIBRARY = "/usr/lib/python3.11/encodings";
const CC1 = ["14", "13", "12", "11"].map((version) => `/usr/lib/gcc/x86_64-linux-gnu/${version}/cc1`);

export const PROGRAMS: readonly Program[] = [
  { name: "perl", files: ["/usr/bin/perl"], arguments: ["-e", PERL], input: TEXT },
  { name: "bash", files: ["/usr/bin/bash"], arguments: ["-c", BASH], input: TEXT.slice(0, 12_000) },
  { name: "mawk", files: ["/usr/bin/mawk"], arguments: [AWK], input: TEXT },
  { name: "cc1 -O2", files: CC1, arguments: ["-quiet", "-fpreprocessed", "-O2", "-", "-o", "-"], input: C },
  { name: "gzip", files: ["/usr/bin/gzip"], arguments: ["-9nc"], input: TEXT },
  { name: "sqlite3", files: ["/usr/bin/sqlite3"], arguments: ["-batch"], input: SQL },
  { name: "busybox awk", files: ["/usr/bin/busybox", "/bin/busybox"], arguments: ["awk", AWK], input: TEXT },
  {
    name: "python3",
    files: ["/usr/bin/python3.11"],
    arguments: ["-ISBc", PYTHON],
    input: TEXT,
    needs: ["__init__", "aliases", "utf_8", "latin_1", "ascii"].map((name) => `${PYTHON_LIBRARY}/${name}.py`),
  },
  { name: "openssl sha512", files: ["/usr/bin/openssl"], arguments: ["dgst", "-sha512"], input: TEXT.repeat(4) },
  {
    name: "openssl aes",
    files: ["/usr/bin/openssl"],
    arguments: ["enc", "-aes-256-ctr", "-K", "11".repeat(32), "-iv", "22".repeat(16), "-base64"],
    input: TEXT.repeat(4),
  },
  { name: "sort", files: ["/usr/bin/sort"], arguments: ["-k2n", "-k3r"], input: TEXT },
  {
    name: "as",
    files: ["/usr/bin/x86_64-linux-gnu-as"],
    arguments: ["-al", "-o", "/dev/null"],
    input: ".rept 3000\nlea 8(%rsp,%rcx,2),%rax\nvpaddd %ymm1,%ymm2,%ymm3\n.endr\n",
  },
  { name: "xz", files: ["/usr/bin/xz"], arguments: ["-zc", "-3", "-T1"], input: TEXT },
  {
    name: "sed",
    files: ["/usr/bin/sed"],
    arguments: ["-E", "s/([a-z]+)\\.([a-z]+)/\\2-\\1/;/^k/d;s/[13579]/_/g;y/abc/xyz/;$!N;P;D"],
    input: TEXT,
  },
  { name: "bzip2", files: ["/usr/bin/bzip2"], arguments: ["-c"], input: TEXT },
  {
    name: "grep",
    files: ["/usr/bin/grep"],
    arguments: ["-nE", "[bx][au]([a-z]+) [0-9]*(7|3.5)[0-9]* \\1?[lm]?[^.]*\\.[a-k]"],
    input: TEXT.repeat(3),
  },
  {
    name: "perl, by fields",
    files: ["/usr/bin/perl"],
    arguments: [
      "-ne",
      'tr/a-y/b-z/; @f = split; $h{$f[1] % 50} .= $f[0]; END { print map { "$_$h{$_}\\n" } sort { $a <=> $b } keys %h }',
    ],
    input: TEXT,
  },
  {
    name: "bc",
    files: ["/usr/bin/bc"],
    arguments: ["-lq"],
    input: "scale=80\n4*a(1)\ne(1)\nfor (i = 1; i < 60; i++) x = x * 3 + s(i)\nx\n2^900 % 10^40\n",
  },
];
