#pragma once
#include <concepts>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "core/error.h"

namespace vitrine::apps {

/// A number from a file that is a T. The conversions of nlohmann's own cut fractions off and wrap what T does not hold.
/// @throws ValueError naming `key` and what stands there
template <std::integral T>
T whole_number(const nlohmann::ordered_json& value, const std::string& key) {
  const bool fits = value.is_number_unsigned() ? std::in_range<T>(value.get<uint64_t>())
                                               : value.is_number_integer() && std::in_range<T>(value.get<int64_t>());
  check<ValueError>(fits, "\"{}\" must be a whole number from {} to {}, got {}", key, std::numeric_limits<T>::min(),
                    std::numeric_limits<T>::max(), value.is_number() ? value.dump() : value.type_name());
  return value.get<T>();
}

}  // namespace vitrine::apps
