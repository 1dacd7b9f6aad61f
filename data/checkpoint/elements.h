#pragma once
#include <string>
#include <vector>

#include "core/tensor.h"
#include "data/checkpoint/input_file.h"

namespace vitrine::data {

/// An element type of a file, and the dtype in which it is held. Types that the engine lacks become the next wider one.
struct ElementType {
  enum class Kind { floating, brain, is_signed, is_unsigned, boolean };  // brain: bf16
  Kind kind = Kind::floating;
  int64_t bytes = 4;

  Dtype dtype() const;
  /// The dtype holds the same bytes.
  bool exact() const;
  std::string name() const;  ///< "float32", "bfloat16", "int16", "bool"
  bool operator==(const ElementType&) const = default;
};

/// "x: int16 widened to i32"
std::string widened_note(const std::string& name, ElementType type);

/// A shape as a file states it, for elements of so many bytes. @throws IoError about `what` for too many dimensions, a
/// negative size, or more bytes than can be addressed
Shape checked_shape(const InputFile& file, const std::string& what, const std::vector<int64_t>& sizes, int64_t bytes);

/// Reads so many elements. A bool byte other than 0 reads as true.
/// @param big_endian  the byte order of the file
/// @return  [count], contiguous, on the CPU
/// @throws IoError if `in` has fewer, an integer passes the dtype's range, or they need too much memory
Tensor read_elements(ByteSource& in, ElementType type, int64_t count, bool big_endian);

}  // namespace vitrine::data
