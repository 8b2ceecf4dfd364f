#!/usr/bin/env bash
# bochs.sh PROGRAM [ARGUMENT...]: runs a statically linked program in Bochs, on a processor with AVX-512, and exits as
# it does. A runner for cargo. Everything is made anew in target/emulate; the kernel is downloaded once, by apt-get.
set -euo pipefail
program="$(realpath "$1")"
shift
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
mkdir -p target/emulate/bochs
cd target/emulate/bochs

if [[ ! -e vmlinuz ]]; then
  image="$(apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" { print $2; exit }')"
  apt-get download "$image"
  dpkg-deb --fsys-tarfile "$image"_*.deb | tar -xO --wildcards './boot/vmlinuz-*' >vmlinuz.part
  rm -- "$image"_*.deb
  mv vmlinuz.part vmlinuz
fi

# A memory disk with the program, a shell, and what to do.
rm -rf root iso serial log
mkdir -p root/bin iso
cp "$program" root/program
cp /bin/busybox root/bin/
{
  printf '#!/bin/busybox sh\n/program'
  (($# == 0)) || printf ' %q' "$@"
  # Serial lines are slow: what was printed must be out before the machine stops.
  printf '\necho "exit status $?"\nbusybox sleep 2\nbusybox reboot -f\n'
} >root/init
chmod +x root/init
(cd root && find . | cpio --quiet -o -H newc | gzip -1) >iso/initrd

# Bochs 2.7 gives a wrong size for compacted XSAVE areas, upon which Linux would do without AVX: not compacted, then.
# A restart is a triple fault, which ends Bochs.
cp vmlinuz /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 iso/
cat >iso/isolinux.cfg <<'CFG'
default vmlinuz initrd=initrd console=ttyS0 loglevel=1 nokaslr mitigations=off acpi=off nosmp clearcpuid=xsavec,xsaves panic=-1 reboot=t
CFG
xorriso -as mkisofs -quiet -o boot.iso -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 \
  -boot-info-table iso 2>/dev/null

cat >bochsrc <<'CFG'
cpu: model=corei7_skylake_x, ips=100000000, reset_on_triple_fault=0
memory: guest=256, host=256
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
ata0-master: type=cdrom, path=boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=serial
display_library: term
sound: driver=dummy
clock: sync=none
panic: action=fatal
error: action=ignore
info: action=ignore
log: log
CFG
# Debian's Bochs is a debugger, which waits to be told to continue.
echo continue >commands
TERM=linux timeout 1h script -qec 'bochs-bin -q -f bochsrc -rc commands' /dev/null </dev/null >screen 2>&1 || true

tr -d '\r' <serial | sed '/^exit status/q'
status="$(tr -d '\r' <serial | sed -n 's/^exit status //p')"
if [[ -z "$status" ]]; then
  printf 'bochs: the machine stopped before the program did; see %s\n' "$PWD/log" >&2
  exit 1
fi
exit "$status"
