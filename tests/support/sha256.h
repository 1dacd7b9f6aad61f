#pragma once
#include <cstdint>
#include <span>
#include <string>

namespace vitrine::testing {

/// SHA-256 of some bytes, in lower-case hexadecimal (FIPS 180-4): fixtures name large tables by it.
std::string sha256(std::span<const std::byte> bytes);

}  // namespace vitrine::testing
