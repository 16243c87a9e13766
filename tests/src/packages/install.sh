# Installs packages on a base with an upper over it, in a chroot of its own: run by unshare(1) in new mount, process and
# network namespaces, so that nothing here is seen outside and nothing is left mounted.
#
# $1: the base's tree, which stays as it is
# $2: a directory on the file system that is to have the upper; $2/aside/archives holds the packages' files
set -eu
base=$1
cd "$2"

mkdir -p upper work root aside/usr/sbin
chmod 0755 upper aside aside/usr aside/usr/sbin
# invoke-rc.d and deb-systemd-invoke ask it before they start a service.
printf '#!/bin/sh\nexit 101\n' > aside/usr/sbin/policy-rc.d
chmod 0755 aside/usr/sbin/policy-rc.d

options=index=off,metacopy=off,redirect_dir=off,xino=off
mount -t overlay -o "lowerdir=aside:$base,upperdir=upper,workdir=work,$options" overlay root
mount -t proc proc root/proc
for scratch in dev run tmp; do
    mount -t tmpfs -o mode=1777 "$scratch" "root/$scratch"
done
chmod 0755 root/dev root/run
while read -r name minor; do
    mknod -m 0666 "root/dev/$name" c 1 "$minor"
done <<END
null 3
zero 5
full 7
random 8
urandom 9
END
ln -s /proc/self/fd root/dev/fd

exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    DEBIAN_FRONTEND=noninteractive SYSTEMD_OFFLINE=1 \
    chroot root sh -c 'exec apt-get --quiet=2 --yes --no-install-recommends \
        -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io \
        install /archives/*.deb'
