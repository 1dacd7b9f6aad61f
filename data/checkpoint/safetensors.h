#pragma once
#include <string>
#include <utility>
#include <vector>

#include "core/tensor.h"

/// The safetensors file format (https://github.com/huggingface/safetensors):
///
///     u64 little endian H | H bytes of JSON header, padded with spaces so that the data starts at a multiple of 8 |
///     data
///
/// The header maps each name to {"dtype", "shape", "data_offsets": [begin, end)} relative to the data, and
/// "__metadata__" to texts. The tensors cover the data without gap or overlap.
namespace vitrine::data {

class InputFile;

/// What a safetensors file holds, in the order of its header.
struct Safetensors {
  std::vector<std::pair<std::string, Tensor>> tensors = {};
  std::vector<std::pair<std::string, std::string>> metadata = {};

  /// nullptr if there is no tensor of that name
  const Tensor* find(const std::string& name) const;
  /// @throws IoError listing the names that exist
  const Tensor& at(const std::string& name) const;
};

/// Reads a whole file into contiguous CPU tensors of the dtypes it states. Nothing in it is trusted: sizes and offsets
/// are checked against the length of the file before anything is allocated. A bool byte other than 0 reads as true.
///
/// @throws IoError naming the file and, where one is at fault, the tensor: unreadable or truncated file, header that is
///         too long or not the JSON described above, repeated name, dtype that the engine lacks, shape that disagrees
///         with its bytes, offsets outside the file, gaps, overlaps
Safetensors read_safetensors(const std::string& path);
Safetensors read_safetensors(const InputFile& file);

/// Writes a file that every safetensors reader accepts; tensors of any strides and device. The header keeps the order
/// given; the data puts wide elements first, so that every element is aligned. Equal content gives equal bytes.
///
/// @throws IoError naming the file, or the tensor whose name is repeated, reserved or not UTF-8, or that is undefined
void write_safetensors(const std::string& file, const Safetensors& content);

}  // namespace vitrine::data
