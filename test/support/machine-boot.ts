/**
 * How a machine of machine.ts begins: its own disks, its own users, its own sshd.
 *
 * A machine with systemd has a root of its own, made of mounts, and not the one of the machine that runs the tests:
 * systemd empties /tmp and /run when it begins. Kernel settings are read-only there.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { MachineIdentity } from "./machine.ts";

const PROJECT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");

/** On the machine's disk. */
const DISKS = ["/var/lib", "/var/cache", "/opt", "/home", "/root", "/mnt", "/srv"];

/** sshd is the first process. */
export function plainBoot(identity: MachineIdentity): string {
  const { folder, options } = identity;
  const { smallDisks = {}, withoutFuse } = options;
  return `set -eu
hostname "$1"
mount -t proc proc /proc
# A copy of somebody's mount would keep it from ending. One whose folder is removed meanwhile goes here too, by itself.
awk '$3 ~ /^fuse/ {print $2}' /proc/mounts | while read -r path; do
  umount -l "$path" 2>/dev/null || ! grep -qF " $path " /proc/mounts
done
${overlay(folder, "/etc")}
${overlay(folder, "/usr", layers(identity))}
${DISKS.map((path) => disk(folder, path)).join("\n")}
${smallDisk(smallDisks, "/var/lib")}
${image(identity)}
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm
${withoutFuse ? "mkdir -p /run/nodev; mount --bind /run/nodev /dev/net 2>/dev/null || true; mount -t tmpfs tmpfs /run/nodev; for d in null zero full random urandom tty; do cp -a /dev/$d /run/nodev/; done; mkdir /run/nodev/pts /run/nodev/shm; mount -t devpts devpts /run/nodev/pts -o ptmxmode=666; ln -s pts/ptmx /run/nodev/ptmx; ln -s /proc/self/fd /run/nodev/fd; mount --move /run/nodev /dev" : ""}
${keys(identity, "/run")}
${settings(identity)}
rm -f /usr/sbin/shutdown && printf '#!/bin/sh\\nkill -TERM 1\\n' > /usr/sbin/shutdown && chmod 755 /usr/sbin/shutdown
mount -t tmpfs tmpfs ${PROJECT}
mkdir -p ${folder}/disk/tmp; chmod 1777 ${folder}/disk/tmp; mount --bind ${folder}/disk/tmp /tmp
${Object.keys(smallDisks)
  .filter((path) => path !== "/var/lib")
  .map((path) => smallDisk(smallDisks, path))
  .join("\n")}
exec /usr/sbin/sshd -D -e -f /run/sshd_config
`;
}

function smallDisk(disks: Readonly<Record<string, number>>, path: string): string {
  const bytes = disks[path];
  return bytes === undefined
    ? ""
    : `mkdir -p ${path}; mount -t tmpfs -o size=${bytes},mode=1777 tmpfs ${path}`;
}

/** systemd is the first process, and starts sshd and a journal, and nothing else. */
export function systemdBoot(identity: MachineIdentity): string {
  const { folder } = identity;
  const root = join(folder, "root");
  return `set -eu
hostname "$1"
mkdir -p ${root}
mount -t tmpfs -o mode=755 tmpfs ${root}
cd ${root}
mkdir -p usr etc tmp run proc sys dev media
for name in bin sbin lib lib64; do ln -s usr/$name $name; done
${overlay(folder, "/etc", [], root)}
${overlay(folder, "/usr", layers(identity), root)}
${[...DISKS, "/tmp", "/var/log", "/var/tmp"].map((path) => disk(folder, path, root)).join("\n")}
chmod 1777 tmp var/tmp
${image(identity, root)}
mount -t proc proc proc
mount --bind proc/sys proc/sys; mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty fuse; do cp -a /dev/$device dev/; done
mkdir dev/pts dev/shm; mount -t devpts devpts dev/pts -o newinstance,ptmxmode=666
ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd
mount -t tmpfs tmpfs dev/shm
${keys(identity, "run")}
mkfifo run/console
cat run/console &
mkdir old; pivot_root . old; umount -l /old; rmdir /old
${settings(identity)}
# What the machine enables later stays for its next boot.
[ -e /etc/machine-was-set-up ] || rm -rf /etc/systemd/system/*.wants /usr/lib/systemd/system/multi-user.target.wants /etc/fstab
touch /etc/machine-was-set-up
cat > /etc/systemd/system/multi-user.target <<END
[Unit]
Wants=sshd.service systemd-journald.service systemd-journald.socket
END
cat > /etc/systemd/system/sshd.service <<END
[Service]
ExecStart=/usr/sbin/sshd -D -e -f /run/sshd_config
KillMode=process
StandardError=append:/run/console
END
exec env -i container=hawser-test PATH=/usr/sbin:/usr/bin /usr/lib/systemd/systemd --unit=multi-user.target --show-status=0
`;
}

function disk(folder: string, path: string, root = ""): string {
  return `mkdir -p ${folder}/disk${path} ${root}${path}; mount --bind ${folder}/disk${path} ${root}${path}`;
}

function overlay(folder: string, path: string, lower: readonly string[] = [], root = ""): string {
  const own = `${folder}/overlay${path}`;
  const below = [...lower, path].join(":");
  return `mkdir -p ${own} ${own}.work; mount -t overlay overlay -o lowerdir=${below},upperdir=${own},workdir=${own}.work ${root}${path}`;
}

/** What is installed from the start lies below what the machine installs. */
function image({ folder, options }: MachineIdentity, root = ""): string {
  if (options.image === undefined) return "";
  const own = `${folder}/overlay/parts`;
  const path = `${root}/var/lib/hawser/parts`;
  return `mkdir -p ${path} ${own} ${own}.work; mount -t overlay overlay -o lowerdir=${options.image},upperdir=${own},workdir=${own}.work ${path}`;
}

/** What lies over the machine's /usr: packages that are not installed. */
function layers({ options, programs: { sudo, sshd } }: MachineIdentity): string[] {
  return [options.withoutSudo ? undefined : sudo, sshd].filter((layer) => layer !== undefined);
}

function keys({ hostKeyFile, authorizedKeysFile }: MachineIdentity, run: string): string {
  return `mkdir -p ${run}/sshd ${run}/lock ${run}/keys
cp ${hostKeyFile} ${run}/keys/host_key; cp ${authorizedKeysFile} ${run}/keys/authorized_keys
chmod 600 ${run}/keys/host_key; chmod 644 ${run}/keys/authorized_keys`;
}

/** Users, sudo, names, and how sshd serves; the machine's /etc, /usr and /run are there. */
function settings({ user, options: { withoutSudo } }: MachineIdentity): string {
  return `grep -q '^${user.name}:' /etc/passwd || echo '${user.name}:x:${user.uid}:${user.gid}::/home/${user.name}:/bin/bash' >> /etc/passwd
grep -q '^${user.name}:' /etc/group || echo '${user.name}:x:${user.gid}:' >> /etc/group
grep -q '^${user.name}:' /etc/shadow || echo '${user.name}:*:19000:0:99999:7:::' >> /etc/shadow
# Of sshd's own, for what it does before a login.
grep -q '^sshd:' /etc/passwd || echo 'sshd:x:499:65534::/run/sshd:/usr/sbin/nologin' >> /etc/passwd
mkdir -p /home/${user.name} && chown ${user.uid}:${user.gid} /home/${user.name}
printf 'root ALL=(ALL:ALL) ALL\\n${withoutSudo ? "" : `${user.name} ALL=(ALL) NOPASSWD:ALL\\n`}' > /etc/sudoers
chmod 440 /etc/sudoers
echo "127.0.0.1 localhost $1" > /etc/hosts
for node in /usr/bin/node /usr/local/bin/node; do [ ! -e $node ] || rm -f $node; done
cat > /run/sshd_config <<END
ListenAddress 0.0.0.0
HostKey /run/keys/host_key
AuthorizedKeysFile /run/keys/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
Subsystem sftp /usr/lib/openssh/sftp-server
END`;
}
