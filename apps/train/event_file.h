#pragma once
#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// TensorBoard's event files: TFRecord frames around protobuf messages
/// (https://github.com/tensorflow/tensorboard, compat/proto/event.proto, summary.proto).
namespace vitrine::apps {

/// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78) of the bytes.
uint32_t crc32c(std::string_view bytes);
/// The frame of a record:  u64 length | u32 mask(crc of the length) | bytes | u32 mask(crc of the bytes), all little
/// endian, where mask(c) = rotate_right(c, 15) + 0xA282EAD8.
std::string tfrecord(std::string_view bytes);

using Scalars = std::vector<std::pair<std::string, double>>;
/// An Event as bytes. `wall_time` in seconds since 1970.
std::string version_event(double wall_time);
/// Says that this process writes from `step` on: what earlier files of the folder hold of it and later is void.
std::string start_event(double wall_time, int64_t step);
/// Values are kept as f32.
std::string scalars_event(double wall_time, int64_t step, const Scalars& scalars);

/// Scalars in a folder, as TensorBoard finds them. Each process writes a file of its own, later by name than those that
/// are there: a file that a killed process left is never touched again, so its last record may be cut off but does no
/// harm.
class EventFile {
 public:
  explicit EventFile(std::string folder) : folder_(std::move(folder)) {}
  /// Appends, and makes the file before the first time. @throws WriteError naming it
  void add(int64_t step, const Scalars& scalars);

 private:
  std::string folder_, path_;
  std::ofstream out_;
};

}  // namespace vitrine::apps
