/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/keyspace.h"

#include "base/crc32c.h"

int keyspace_check_name(struct slice name, struct err *err)
{
    bool is_fine = name.len > 0 && name.len <= KEYSPACE_NAME_MAX;
    bool is_number = true;
    for (size_t i = 0; i < name.len && is_fine; i++) {
        uint8_t c = name.data[i];
        bool is_digit = c >= '0' && c <= '9';
        is_fine = is_digit || (c >= 'a' && c <= 'z') || c == '-';
        is_number = is_number && is_digit;
    }
    if (!is_fine)
        return err_set(err, ERR_INVALID, "a keyspace's name is 1 to %d of a-z, 0-9 and '-'",
                       KEYSPACE_NAME_MAX);
    if (is_number)
        return err_set(err, ERR_INVALID, "a keyspace's name is not a number alone");
    return 0;
}

uint16_t keyspace_slot(struct slice key, uint32_t slots)
{
    ASSERT(slots > 0);
    ASSERT(slots <= KEYSPACE_SLOTS_MAX);
    return (uint16_t)(crc32c(0, key.data, key.len) % slots);
}
