#!/bin/sh
# Boot systemd as PID 1 of a machine that shares this host's kernel and network and nothing else.
#
#   boot.sh FOLDER PYTHON SITE PROJECT SYSTEMD CGROUP…
#
# FOLDER    for its root: an overlay in memory, gone with it
# PYTHON    the prefix of the Python that the program runs with
# SITE      the site-packages of the environment that has all it needs
# PROJECT   this repository
# SYSTEMD   a folder with the systemd that this host lacks; - where it has one
# CGROUP…   folders made for it, one in each hierarchy
#
# It calls itself again in the new namespaces, with `inside` before the rest.
set -eu

if [ "$1" != inside ]; then
    folder=$1 python=$2 site=$3 project=$4 systemd=$5
    shift 5
    for cgroup; do echo $$ >"$cgroup/cgroup.procs"; done
    exec unshare --fork --kill-child --pid --mount --uts --ipc --cgroup \
        sh "$project/tests/system/systemd/boot.sh" inside "$folder" "$python" "$site" "$project" "$systemd"
fi
folder=$2 python=$3 site=$4 project=$5 systemd=$6
root=$folder/root

mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$root"
lower=/
if [ "$systemd" != - ]; then
    # A copy: what is laid over a folder may not be inside of it.
    cp -a "$systemd" "$folder/systemd"
    lower=$folder/systemd:/
fi
mount -t overlay -o "lowerdir=$lower,upperdir=$folder/upper,workdir=$folder/work" overlay "$root"

# What a kernel's file systems look like to it. What it could change of ours is read-only.
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
for place in run tmp dev; do mount -t tmpfs -o mode=0755 tmpfs "$root/$place"; done
chmod 1777 "$root/tmp"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir -m 1777 "$root/dev/shm"
mkdir "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    hierarchy=
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
    hierarchy=legacy
    mount -t tmpfs -o mode=0755 tmpfs "$root/sys/fs/cgroup"
    for controller in memory pids cpu cpuacct devices freezer; do
        [ -d "/sys/fs/cgroup/$controller" ] || continue
        mkdir "$root/sys/fs/cgroup/$controller"
        mount -t cgroup -o "$controller" cgroup "$root/sys/fs/cgroup/$controller"
    done
    mkdir "$root/sys/fs/cgroup/systemd"
    mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
fi

# Of what this host starts at boot, nothing: only what the tests ask for.
system=$root/usr/lib/systemd/system
rm -rf "$root"/etc/systemd/system/* "$system"/*.wants "$root/usr/lib/systemd/system-generators" "$root/etc/fstab"
mkdir -p "$root/etc/systemd/system" "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n' >"$root/etc/systemd/journald.conf.d/tests.conf"
printf '[Unit]\nDefaultDependencies=no\nWants=systemd-journald.service\nAfter=systemd-journald.service\n' \
    >"$root/etc/systemd/system/tests.target"
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"

# The program as README says it is installed: an environment of its own in /opt. What it depends on, and the Python
# where that is in somebody's home, are this host's, shown at other places: homes are hidden from the unit.
minor=$(basename "$(dirname "$site")")
opt=$root/opt/executor-worker
mkdir -p "$opt/bin" "$opt/lib/$minor/site-packages" "$root/opt/dependencies" "$root/opt/python" "$root/opt/tests/tests"
mount --bind -o ro "$site" "$root/opt/dependencies"
if [ "$python" != /usr ]; then
    mount --bind -o ro "$python" "$root/opt/python"
    python=/opt/python
fi
printf 'home = %s/bin\ninclude-system-site-packages = false\n' "$python" >"$opt/pyvenv.cfg"
ln -s "$python/bin/$minor" "$opt/bin/python"
echo /opt/dependencies >"$opt/lib/$minor/site-packages/dependencies.pth"
for package in executor_worker orchestrator supervisor; do
    mkdir "$opt/lib/$minor/site-packages/$package"
    mount --bind -o ro "$project/$package" "$opt/lib/$minor/site-packages/$package"
done
printf '#!/opt/executor-worker/bin/python\nimport sys\nfrom executor_worker.cli.main import main\nsys.exit(main())\n' \
    >"$opt/bin/executor-worker"
chmod 755 "$opt/bin/executor-worker"
mkdir "$root/opt/tests/tests/faults"
mount --bind -o ro "$project/tests/faults" "$root/opt/tests/tests/faults"

# A real root, not a chroot: user namespaces and credentials want one.
cd "$root"
mkdir .old
pivot_root . .old
umount -l /.old
rmdir /.old
mount --make-rshared /
set -- /usr/lib/systemd/systemd --system --unit=tests.target --log-target=journal --show-status=no
[ -n "$hierarchy" ] && set -- SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 SYSTEMD_PROC_CMDLINE=systemd.unified_cgroup_hierarchy=0 "$@"
exec env -i container=tests PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
