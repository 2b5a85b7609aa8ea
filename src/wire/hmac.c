/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/hmac_internal.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

bool hmac_sha256(struct slice key, struct slice text, uint8_t ret_mac[HMAC_LEN])
{
    ASSERT(key.len > 0 && key.len <= INT32_MAX);
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (HMAC(EVP_sha256(), key.data, (int)key.len, text.data, text.len, mac, &len) == NULL)
        return false;
    ASSERT(len == HMAC_LEN);
    memcpy(ret_mac, mac, HMAC_LEN);
    return true;
}
