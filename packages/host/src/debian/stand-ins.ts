/**
 * What stands in for programs while Debian's packages are configured (configure-script.ts): where a package's script would start
 * Perl or Python, or do again for each package what is done once for all of them. An interpreter takes seconds to start in a
 * VM, and the scripts would start some hundreds of them.
 *
 *   adduser, addgroup                  all users are made before, by systemd-sysusers
 *   deb-systemd-helper, systemctl      units are enabled at the end, without Perl
 *   pam-auth-update                    called once, at the end, when all profiles are there
 *   systemd-sysusers, systemd-tmpfiles once for all; at each start of the system in any case
 *   ucf, ucfr                          in a new system a file of configuration is new
 *   debconf's modules                  nobody is asked, and the answers are the packages' own defaults
 *   ssh-keygen                         each machine makes its own key when it starts
 *   systemd-hwdb                       the names of hardware that no VM has: not made
 *   py3compile, py_compile             of Python's modules, those that a start needs are compiled once at the end
 *   the rest                           does nothing for what was never there in an older version, or never ran
 */
const NOTHING = "#!/bin/sh\n";

const IN_THE_END = `#!/bin/sh
user=
for word; do
  case $word in
    was-enabled) exit 0 ;;
    debian-installed) exit 1 ;;
    --user) user=-user ;;
    enable) enables=1 ;;
    *.*) [ -z "$enables" ] || echo "$word" >>/run/enabled$user ;;
  esac
done
exit 0
`;

/** Where a user was not thought of, the program itself is started. */
const USER_IS_THERE = `#!/bin/sh
for name; do :; done
getent passwd "$name" >/dev/null || getent group "$name" >/dev/null || exec /usr/sbin/\${0##*/} "$@"
`;

const NEW_CONFIGURATION = `#!/bin/sh
while [ $# -gt 2 ]; do shift; done
[ -e "$2" ] || cp "$1" "$2"
chmod 644 "$2"
sum=$(md5sum <"$1")
echo "\${sum%% *}  $2" >>/var/lib/ucf/hashfile
`;

const CONFIGURATION_OF = `#!/bin/sh
while [ $# -gt 2 ]; do shift; done
printf '%s\\t%s\\n' "$1" "$2" >>/var/lib/ucf/registry
`;

/** By name: found before the programs themselves. */
export const STAND_IN_PROGRAMS: Readonly<Record<string, string>> = {
  adduser: USER_IS_THERE,
  addgroup: USER_IS_THERE,
  "deb-systemd-helper": IN_THE_END,
  systemctl: IN_THE_END,
  ucf: NEW_CONFIGURATION,
  ucfr: CONFIGURATION_OF,
  "deb-systemd-invoke": NOTHING,
  "dpkg-maintscript-helper": NOTHING,
  "invoke-rc.d": NOTHING,
  "pam-auth-update": NOTHING,
  py3compile: NOTHING,
  "ssh-keygen": NOTHING,
  "systemd-hwdb": NOTHING,
  "systemd-sysusers": NOTHING,
  "systemd-tmpfiles": NOTHING,
  "update-rc.d": NOTHING,
};

const DEBCONF_FOR_SHELLS = `db_get() {
  case $1 in
    openssh-server/permit-root-login | openssh-server/password-authentication) RET=true ;;
    iproute2/setcaps) RET=false ;;
    *) RET= ;;
  esac
}
db_version() { :; }
db_capb() { :; }
db_unregister() { :; }
db_stop() { :; }
`;

const DEBCONF_FOR_PERL = `package Debconf::Client::ConfModule;
use Exporter 'import';
our @EXPORT_OK = qw(version capb x_loadtemplatefile subst settitle get set fset input go stop);
our %EXPORT_TAGS = (all => \\@EXPORT_OK);
my %values;
sub set { $values{$_[0]} = $_[1]; }
sub get { return $values{$_[0]} // ''; }
for my $name (@EXPORT_OK) { *$name = sub { return ''; } unless defined &$name; }
1;
`;

/** By path, in which a shell's patterns are: they lie over the files themselves, which are not changed. */
export const STAND_IN_FILES: Readonly<Record<string, string>> = {
  "/usr/share/debconf/confmodule": DEBCONF_FOR_SHELLS,
  "/usr/share/perl5/Debconf/Client/ConfModule.pm": DEBCONF_FOR_PERL,
  // A script of Python's own gives it 200 files.
  "/usr/lib/python3.*/py_compile.py": "",
};
