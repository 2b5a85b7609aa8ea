# SPDX-License-Identifier: Apache-2.0
# Language, warnings, sanitizers: the same for every target.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON) # GNU/Linux interfaces; the language stays C17
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)

set(HOLDFAST_SANITIZE "" CACHE STRING "comma separated -fsanitize= list, empty for none")
option(HOLDFAST_FUZZ "build the libFuzzer targets (clang)" OFF)
option(HOLDFAST_PLANTED "bugs can be switched on, for the test of the tests: never for use" OFF)

# What is built says nothing of the folder that it was built in: the same commit makes the same
# programs anywhere, and a cache of the compiler serves every checkout.
file(RELATIVE_PATH HOLDFAST_TOP ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR})
add_compile_options(-ffile-prefix-map=${CMAKE_SOURCE_DIR}/= -ffile-prefix-map=${HOLDFAST_TOP}=
                    -ffile-prefix-map=${CMAKE_BINARY_DIR}=.)
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
    set(CMAKE_C_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}
                                  ${CCACHE_PROGRAM})
endif()

add_compile_definitions(_GNU_SOURCE)
add_compile_options(-Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
                    -Wvla -Wpointer-arith -Wwrite-strings -Wundef -Wformat=2
                    -fno-strict-aliasing -fno-omit-frame-pointer -g)
if(CMAKE_C_COMPILER_ID STREQUAL GNU)
    # messages are cut on purpose; gcc 12 sees overlaps where sanitizers hide types
    add_compile_options(-Wno-format-truncation -Wno-restrict)
endif()
if(HOLDFAST_FUZZ)
    # all rooms, or libFuzzer would see no more than the targets themselves
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(HOLDFAST_PLANTED)
    add_compile_definitions(HOLDFAST_PLANTED)
endif()
if(HOLDFAST_SANITIZE)
    add_compile_options(-fsanitize=${HOLDFAST_SANITIZE} -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${HOLDFAST_SANITIZE})
    # Hundreds of large programs, linked in a third of the time; a quarter of a start is moving
    # 200,000 addresses to where the program was loaded.
    string(APPEND CMAKE_EXE_LINKER_FLAGS " -no-pie")
    find_program(MOLD_PROGRAM mold)
    if(MOLD_PROGRAM)
        add_link_options(-fuse-ld=mold)
    endif()
endif()
