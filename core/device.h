#pragma once
#include <cstdint>
#include <string>

namespace vitrine {

enum class DeviceType : int8_t { cpu, cuda, emulated };
inline constexpr int kDeviceTypes = 3;

/// Where a tensor's bytes live. `emulated` runs the CUDA kernels on the host (core/cuda/README.md).
struct Device {
  DeviceType type = DeviceType::cpu;
  int8_t index = 0;

  static constexpr Device cpu() { return {DeviceType::cpu, 0}; }
  static constexpr Device cuda(int index = 0) { return {DeviceType::cuda, static_cast<int8_t>(index)}; }
  static constexpr Device emulated() { return {DeviceType::emulated, 0}; }
  constexpr bool operator==(const Device&) const = default;
};

/// "cpu", "cuda", "emulated": the name of a kind of device.
constexpr const char* name_of(DeviceType type) {
  return type == DeviceType::cpu ? "cpu" : type == DeviceType::cuda ? "cuda" : "emulated";
}
/// "cpu", "cuda:0", "emulated".
std::string to_string(Device device);
/// Reads "cpu", "cuda", "cuda:N", "emulated". @throws DeviceError for anything else, naming the valid choices
Device parse_device(const std::string& text);
/// Number of CUDA devices that this build and machine can use; 0 in a build without CUDA.
int cuda_device_count();

}  // namespace vitrine
