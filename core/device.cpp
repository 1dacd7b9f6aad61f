#include "core/device.h"

#include <charconv>

#include "core/error.h"

namespace vitrine {

std::string to_string(Device device) {
  std::string s = name_of(device.type);
  return device.type == DeviceType::cuda ? s + ":" + std::to_string(device.index) : s;
}

Device parse_device(const std::string& text) {
  if (text == "cpu") return Device::cpu();
  if (text == "emulated") return Device::emulated();
  if (text == "cuda") return Device::cuda(0);
  if (text.starts_with("cuda:")) {
    int index = -1;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data() + 5, end, index);
    if (error == std::errc() && rest == end && index >= 0 && index < 128) return Device::cuda(index);
  }
  throw DeviceError("unknown device '" + text + "': write cpu, cuda, cuda:N or emulated");
}

}  // namespace vitrine
