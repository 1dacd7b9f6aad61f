#include "data/checkpoint/elements.h"

#include <algorithm>
#include <bit>
#include <vector>

namespace vitrine::data {

static_assert(std::endian::native == std::endian::little);

using Kind = ElementType::Kind;

Dtype ElementType::dtype() const {
  switch (kind) {
    case Kind::floating:
      return bytes == 8 ? Dtype::f64 : bytes == 4 ? Dtype::f32 : Dtype::f16;
    case Kind::brain:
      return Dtype::bf16;
    case Kind::boolean:
      return Dtype::boolean;
    case Kind::is_signed:
      return bytes == 8 ? Dtype::i64 : Dtype::i32;
    case Kind::is_unsigned:
      return bytes == 1 ? Dtype::u8 : bytes == 2 ? Dtype::i32 : Dtype::i64;
  }
  return Dtype::f32;
}

bool ElementType::exact() const {
  return size_of(dtype()) == bytes && !(kind == Kind::is_unsigned && dtype() != Dtype::u8);
}

std::string ElementType::name() const {
  if (kind == Kind::boolean) return "bool";
  constexpr const char* kStems[] = {"float", "bfloat", "int", "uint"};
  return kStems[int(kind)] + std::to_string(8 * bytes);
}

std::string widened_note(const std::string& name, ElementType type) {
  return format("{}: {} widened to {}", in_quotes(name), type.name(), type.dtype());
}

Shape checked_shape(const InputFile& file, const std::string& what, const std::vector<int64_t>& sizes, int64_t bytes) {
  file.require(sizes.size() <= size_t(Shape::kMaxDims), "{} has {} dimensions; at most {} can be read", what,
               sizes.size(), Shape::kMaxDims);
  // Strides multiply sizes too and a zero does not make them small, so zeros count as one here.
  Shape shape;
  bool fits = true;
  for (const int64_t n : sizes) {
    file.require(n >= 0, "{} has a negative size: {}", what, n);
    fits = fits && !__builtin_mul_overflow(bytes, std::max<int64_t>(1, n), &bytes);
    shape.push_back(n);
  }
  file.require(fits, "{} is larger than any memory: shape {}", what, shape);
  return shape;
}

namespace {

/// Narrow integers, each as T.
template <class T>
void widen(ByteSource& in, ElementType type, bool big_endian, Tensor& out) {
  T* to = out.mutable_data<T>();
  std::vector<unsigned char> buffer(size_t(type.bytes) << 13);
  for (int64_t left = out.numel(); left > 0;) {
    const int64_t part = std::min<int64_t>(left, int64_t(1) << 13);
    in.read(buffer.data(), uint64_t(part * type.bytes));
    for (int64_t i = 0; i < part; ++i) {
      unsigned char* p = &buffer[size_t(i * type.bytes)];
      if (big_endian) std::reverse(p, p + type.bytes);
      uint64_t x = 0;
      for (int64_t b = 0; b < type.bytes; ++b) x |= uint64_t(p[b]) << 8 * b;
      const int spare = int(64 - 8 * type.bytes);
      if (type.kind == Kind::is_signed) x = uint64_t(int64_t(x << spare) >> spare);
      in.require(type.kind == Kind::is_signed || x <= uint64_t(INT64_MAX), "the uint64 {} passes the range of i64", x);
      *to++ = T(int64_t(x));
    }
    left -= part;
  }
}

}  // namespace

Tensor read_elements(ByteSource& in, ElementType type, int64_t count, bool big_endian) {
  in.require(count >= 0 && uint64_t(count) <= in.remaining() / uint64_t(type.bytes),
             "{} elements of {} do not fit its {} bytes", count, type.name(), in.remaining());
  in.file().claim(uint64_t(count) * uint64_t(size_of(type.dtype())));
  Tensor out = empty({count}, {.dtype = type.dtype()});
  if (!type.exact()) {
    type.dtype() == Dtype::i32 ? widen<int32_t>(in, type, big_endian, out) : widen<int64_t>(in, type, big_endian, out);
    return out;
  }
  auto* bytes = static_cast<unsigned char*>(out.raw_mutable_data());
  in.read(bytes, uint64_t(count * type.bytes));
  if (big_endian)
    for (int64_t i = 0; i < count; ++i) std::reverse(bytes + i * type.bytes, bytes + (i + 1) * type.bytes);
  if (type.kind == Kind::boolean)
    for (int64_t i = 0; i < count; ++i) bytes[i] = bytes[i] != 0;
  return out;
}

}  // namespace vitrine::data
