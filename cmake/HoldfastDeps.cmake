# SPDX-License-Identifier: Apache-2.0
# Libraries, all from Debian; tools/deps installs them.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(LZ4 REQUIRED IMPORTED_TARGET liblz4)
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
pkg_search_module(MSGPACK REQUIRED IMPORTED_TARGET msgpack-c msgpack) # trixie, bookworm
find_library(AIO_LIBRARY aio REQUIRED) # libaio-dev has no .pc file
pkg_check_modules(RAFT REQUIRED IMPORTED_TARGET raft)

# raft_step() of exactly this version, behind the guards of src/consensus: 0.15
# commits entries of old terms by counting replicas, later ones move memory
# ownership. consensus/ also checks RAFT_VERSION_NUMBER and sizeof(struct raft).
if(NOT RAFT_VERSION VERSION_EQUAL 0.22.1)
    message(FATAL_ERROR "libraft ${RAFT_VERSION} found, but Holdfast needs exactly 0.22.1 "
                        "(other versions lose acknowledged writes or change memory ownership): "
                        "install libraft-dev from bookworm-backports; tools/deps does it")
endif()
