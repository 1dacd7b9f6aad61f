#include "data/checkpoint/safetensors.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>

#include "core/autograd.h"
#include "core/files.h"
#include "data/checkpoint/input_file.h"

namespace vitrine::data {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kLengthBytes = 8;               // the u64 in front of the header
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's own implementation
constexpr const char* kMetadata = "__metadata__";
constexpr std::pair<Dtype, const char*> kDtypeNames[] = {
    {Dtype::f64, "F64"}, {Dtype::f32, "F32"}, {Dtype::bf16, "BF16"}, {Dtype::f16, "F16"},
    {Dtype::i64, "I64"}, {Dtype::i32, "I32"}, {Dtype::u8, "U8"},     {Dtype::boolean, "BOOL"}};

/// Where one tensor lies; offsets are relative to the data.
struct Entry {
  std::string name;
  Dtype dtype = Dtype::f32;
  Shape shape;
  uint64_t begin = 0, end = 0;
};

/// Parses the header's JSON. The parser keeps the last of two equal keys and any depth, so both are checked on the way.
Json parse_header(const InputFile& file, const std::string& text) {
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) {
      keys.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      keys.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const auto name = value.get<std::string>();
      file.require(keys.back().insert(name).second, "the header has the key {} twice", in_quotes(name));
    }
    file.require(depth <= 3, "the header is nested too deeply");
    return true;
  };
  try {
    Json header = Json::parse(text, watch);
    file.require(header.is_object(), "the header is not a JSON object");
    return header;
  } catch (const Json::exception&) {
    file.require(false, "the header is not valid JSON");
    throw;
  }
}

bool is_offset(const Json& value) { return value.is_number_unsigned(); }

Entry read_entry(const InputFile& file, const std::string& name, const Json& value) {
  Entry entry;
  entry.name = name;
  const std::string shown = in_quotes(name);
  const auto field = [&](const char* key) -> const Json& {
    file.require(value.is_object() && value.contains(key), "tensor {} has no \"{}\"", shown, key);
    return value[key];
  };
  const Json &dtype = field("dtype"), &shape = field("shape"), &offsets = field("data_offsets");

  file.require(dtype.is_string(), "tensor {}: \"dtype\" is not a text", shown);
  const auto* known = std::find_if(std::begin(kDtypeNames), std::end(kDtypeNames), [&](const auto& pair) {
    return dtype.get_ref<const std::string&>() == pair.second;
  });
  file.require(known != std::end(kDtypeNames),
               "tensor {} has dtype {}; F64, F32, BF16, F16, I64, I32, U8 and BOOL can be read", shown,
               in_quotes(dtype.get<std::string>()));
  entry.dtype = known->first;

  file.require(shape.is_array() && std::all_of(shape.begin(), shape.end(), is_offset),
               "tensor {}: \"shape\" is not a list of sizes", shown);
  file.require(shape.size() <= size_t(Shape::kMaxDims), "tensor {} has {} dimensions; at most {} can be read", shown,
               shape.size(), Shape::kMaxDims);
  // Strides multiply sizes too and a zero does not make them small, so zeros count as one here.
  int64_t extent = size_of(entry.dtype);
  bool fits = true;
  for (const Json& size : shape) {
    const auto n = size.get<uint64_t>();
    fits =
        fits && n <= uint64_t(INT64_MAX) && !__builtin_mul_overflow(extent, std::max<int64_t>(1, int64_t(n)), &extent);
    if (fits) entry.shape.push_back(int64_t(n));
  }
  file.require(fits, "tensor {} is larger than any memory: shape {}", shown, shape.dump());

  file.require(offsets.is_array() && offsets.size() == 2 && is_offset(offsets[0]) && is_offset(offsets[1]),
               "tensor {}: \"data_offsets\" is not [begin, end]", shown);
  entry.begin = offsets[0].get<uint64_t>(), entry.end = offsets[1].get<uint64_t>();
  const uint64_t bytes = uint64_t(entry.shape.numel()) * uint64_t(size_of(entry.dtype));
  file.require(entry.begin <= entry.end && entry.end - entry.begin == bytes,
               "tensor {} {} {} needs {} bytes, but \"data_offsets\" is [{}, {}]", shown, entry.shape, entry.dtype,
               bytes, entry.begin, entry.end);
  return entry;
}

/// The entries cover [0, data_bytes) exactly once.
void check_layout(const InputFile& file, const std::vector<Entry>& entries, uint64_t data_bytes) {
  std::vector<const Entry*> order;
  for (const Entry& e : entries) {
    file.require(e.end <= data_bytes, "tensor {} ends at byte {} of the data, but the file has {}; it is truncated",
                 in_quotes(e.name), e.end, data_bytes);
    order.push_back(&e);
  }
  std::sort(order.begin(), order.end(),
            [](const Entry* a, const Entry* b) { return std::pair(a->begin, a->end) < std::pair(b->begin, b->end); });
  uint64_t at = 0;
  for (const Entry* e : order) {
    file.require(e->begin >= at, "tensor {} overlaps another: it begins at byte {}, the one before ends at {}",
                 in_quotes(e->name), e->begin, at);
    file.require(e->begin == at, "{} unused bytes before tensor {}", e->begin - at, in_quotes(e->name));
    at = e->end;
  }
  file.require(at == data_bytes, "{} bytes after the last tensor", data_bytes - at);
}

/// Any byte but 0 and 1 is no value of a C++ bool.
void normalise_booleans(Tensor& t) {
  auto* bytes = static_cast<unsigned char*>(t.raw_mutable_data());
  for (int64_t i = 0; i < t.numel(); ++i) bytes[i] = bytes[i] != 0;
}

const char* name_in_file(Dtype dtype) {
  return std::find_if(std::begin(kDtypeNames), std::end(kDtypeNames), [&](const auto& p) { return p.first == dtype; })
      ->second;
}

/// Names are JSON keys: unique, and UTF-8.
void check_names(const std::string& file, const Safetensors& content) {
  const auto check_keys = [&](const auto& list, const char* what) {
    std::set<std::string> seen;
    for (const auto& [name, value] : list) {
      check<IoError>(seen.insert(name).second, "{}: the {} {} is given twice", file, what, in_quotes(name));
      bool utf8 = true;
      try {
        Json(name).dump();
      } catch (const Json::exception&) {
        utf8 = false;
      }
      check<IoError>(utf8, "{}: the {} {} is not UTF-8", file, what, in_quotes(name));
    }
  };
  check_keys(content.tensors, "tensor");
  check_keys(content.metadata, "metadata key");
  for (const auto& [name, tensor] : content.tensors) {
    check<IoError>(name != kMetadata, "{}: no tensor can be called {}", file, kMetadata);
    check<IoError>(tensor.defined(), "{}: tensor {} is undefined", file, in_quotes(name));
  }
}

}  // namespace

const Tensor* Safetensors::find(const std::string& name) const {
  for (const auto& [key, tensor] : tensors)
    if (key == name) return &tensor;
  return nullptr;
}

const Tensor& Safetensors::at(const std::string& name) const {
  if (const Tensor* found = find(name)) return *found;
  std::string names;
  for (const auto& [key, tensor] : tensors) names += (names.empty() ? "" : ", ") + in_quotes(key);
  throw IoError(format("there is no tensor {}; the file has {}", in_quotes(name), names.empty() ? "none" : names));
}

Safetensors read_safetensors(const std::string& path) { return read_safetensors(InputFile(path)); }

Safetensors read_safetensors(const InputFile& file) {
  file.require(file.size() >= kLengthBytes, "{} bytes are too few for a safetensors file", file.size());
  unsigned char length[kLengthBytes] = {};
  file.read(0, length, kLengthBytes);
  const auto header_bytes = little_endian<uint64_t>(length);
  file.require(header_bytes <= kMaxHeaderBytes, "not a safetensors file: it states a header of {} bytes, more than {}",
               header_bytes, kMaxHeaderBytes);
  file.require(header_bytes <= file.size() - kLengthBytes,
               "it states a header of {} bytes, but {} follow: truncated, or not a safetensors file", header_bytes,
               file.size() - kLengthBytes);
  std::string text(header_bytes, '\0');
  file.read(kLengthBytes, text.data(), header_bytes);
  const Json header = parse_header(file, text);

  Safetensors content;
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == kMetadata) {
      file.require(value.is_object(), "\"{}\" is not an object of texts", kMetadata);
      for (const auto& [key, item] : value.items()) {
        file.require(item.is_string(), "\"{}\": {} is not a text", kMetadata, in_quotes(key));
        content.metadata.emplace_back(key, item.get<std::string>());
      }
    } else {
      entries.push_back(read_entry(file, name, value));
    }
  }
  const uint64_t data_start = kLengthBytes + header_bytes;
  check_layout(file, entries, file.size() - data_start);
  for (const Entry& e : entries) {
    Tensor t = empty(e.shape, {.dtype = e.dtype});
    file.read(data_start + e.begin, t.raw_mutable_data(), e.end - e.begin);
    if (e.dtype == Dtype::boolean) normalise_booleans(t);
    content.tensors.emplace_back(e.name, std::move(t));
  }
  return content;
}

void write_safetensors(const std::string& file, const Safetensors& content) {
  check_names(file, content);
  const NoGrad no_grad;
  // Without gaps, elements stay aligned only if no narrow tensor lies before a wide one.
  std::vector<const Tensor*> order;
  for (const auto& [name, tensor] : content.tensors) order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(),
                   [](const Tensor* a, const Tensor* b) { return size_of(a->dtype()) > size_of(b->dtype()); });
  std::map<const Tensor*, int64_t> begins;
  int64_t at = 0;
  for (const Tensor* t : order) begins[t] = at, at += t->numel() * size_of(t->dtype());

  Json header = Json::object();
  if (!content.metadata.empty()) {
    Json& metadata = header[kMetadata] = Json::object();
    for (const auto& [key, text] : content.metadata) metadata[key] = text;
  }
  for (const auto& [name, tensor] : content.tensors) {
    const int64_t begin = begins[&tensor];
    header[name] = {{"dtype", name_in_file(tensor.dtype())},
                    {"shape", std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end())},
                    {"data_offsets", {begin, begin + tensor.numel() * size_of(tensor.dtype())}}};
  }
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  check<IoError>(text.size() <= kMaxHeaderBytes, "{}: the names and shapes need more than {} bytes", file,
                 kMaxHeaderBytes);

  write_file_atomically(file, [&](std::ostream& out) {
    for (uint64_t i = 0; i < kLengthBytes; ++i) out.put(char(text.size() >> 8 * i));
    out << text;
    for (const Tensor* t : order) {
      const Tensor dense = t->to(Device::cpu()).contiguous();
      out.write(static_cast<const char*>(dense.raw_data()), std::streamsize(dense.numel() * size_of(dense.dtype())));
    }
  });
}

}  // namespace vitrine::data
