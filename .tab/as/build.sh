#!/bin/bash
# GNU as for x86_64-linux-gnu as a WebAssembly program: build.sh SOURCE.tar.xz WORK OUT
# SOURCE is binutils-2.40.tar.xz out of the Debian package binutils-source; WORK is a scratch folder;
# OUT gets as.wasm and as.js.
set -euo pipefail
source=$(realpath "$1") work=$2 out=$(realpath "$3")
jobs=${JOBS:-2}
# Debian's emcc finds its Node modules only where it is told; its own use of fetch breaks with Node 18 and later.
export NODE_PATH=/usr/share/nodejs NODE_OPTIONS=--no-experimental-fetch
# Programs are linked by configure alone, hundreds of them: that may be quick.
export CFLAGS='-Os -w' LDFLAGS=-O0
# libiberty's configure does not see that Emscripten's C library has these two.
export ac_cv_func_psignal=yes ac_cv_func_strsignal=yes

mkdir -p "$work/build"
cd "$work"
[ -d binutils-2.40 ] || tar xf "$source"
cd build
[ -f Makefile ] || emconfigure ../binutils-2.40/configure \
    --host=wasm32-unknown-emscripten --build=x86_64-linux-gnu --target=x86_64-linux-gnu \
    --disable-nls --disable-gdb --disable-gdbserver --disable-sim --disable-ld --disable-gold --disable-gprof \
    --disable-gprofng --disable-binutils --disable-werror --disable-plugins --disable-shared --disable-libctf \
    --without-zstd --without-debuginfod --without-msgpack --disable-readline --disable-libdecnumber --with-system-zlib=no
emmake make -j"$jobs" MAKEINFO=true all-gas
emcc -Os -o as.js gas/*.o gas/config/*.o opcodes/.libs/libopcodes.a bfd/.libs/libbfd.a libiberty/libiberty.a zlib/libz.a \
    -sMODULARIZE=1 -sEXPORT_NAME=makeAs -sENVIRONMENT=shell -sINVOKE_RUN=0 -sEXIT_RUNTIME=0 \
    -sALLOW_MEMORY_GROWTH=1 -sMAXIMUM_MEMORY=268435456 -sEXPORTED_RUNTIME_METHODS=callMain,FS
cp as.wasm as.js "$out"
