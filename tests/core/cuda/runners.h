#pragma once
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/device.h"

/// The kernels of these tests are compiled once per device, like those of the engine. Each `.cu` file registers, under
/// its own device, functions which run a kernel and return what it wrote; the tests call them by name.
namespace vitrine::testing {

using Words = std::vector<uint32_t>;
/// Runs a kernel with some integers as arguments; returns the contents of its output buffer.
using Runner = Words (*)(const Words& arguments);

inline std::map<std::pair<std::string, DeviceType>, Runner>& runners() {
  static std::map<std::pair<std::string, DeviceType>, Runner> table;
  return table;
}

struct AddRunner {
  AddRunner(const char* name, DeviceType device, Runner run) { runners()[{name, device}] = run; }
};

inline bool has_runner(const std::string& name, DeviceType device) { return runners().count({name, device}) != 0; }

inline Words run(const std::string& name, DeviceType device, const Words& arguments = {}) {
  const auto it = runners().find({name, device});
  if (it == runners().end()) throw std::logic_error("no runner " + name);
  return it->second(arguments);
}

/// Integers from -8 to 8 that look random, for inputs whose sums and products are exact.
inline int small_integer(uint32_t seed, uint32_t i) {
  uint32_t x = (seed * 0x9E3779B9u) ^ (i * 0x85EBCA6Bu);
  x ^= x >> 15, x *= 0x2C1B3C6Du, x ^= x >> 12, x *= 0x297A2D39u, x ^= x >> 15;
  return int(x % 17) - 8;
}

}  // namespace vitrine::testing
