#include "data/checkpoint/safetensors.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/autograd.h"
#include "core/files.h"

namespace vitrine::data {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kLengthBytes = 8;               // the u64 in front of the header
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's own implementation
constexpr const char* kMetadata = "__metadata__";
constexpr std::pair<Dtype, const char*> kDtypeNames[] = {
    {Dtype::f64, "F64"}, {Dtype::f32, "F32"}, {Dtype::bf16, "BF16"}, {Dtype::f16, "F16"},
    {Dtype::i64, "I64"}, {Dtype::i32, "I32"}, {Dtype::u8, "U8"},     {Dtype::boolean, "BOOL"}};

/// A text from the file as it may appear in a message: on one line and not too long.
std::string quoted(const std::string& text) {
  constexpr size_t kShown = 200;
  return Json(text.substr(0, kShown)).dump(-1, ' ', true, Json::error_handler_t::replace) +
         (text.size() > kShown ? "..." : "");
}

/// Where one tensor lies; offsets are relative to the data.
struct Entry {
  std::string name;
  Dtype dtype = Dtype::f32;
  Shape shape;
  uint64_t begin = 0, end = 0;
};

/// Throws IoError with the file's name in front.
class Complaint {
 public:
  explicit Complaint(const std::string& file) : file_(file) {}
  template <class... A>
  void require(bool condition, std::string_view text, const A&... arguments) const {
    if (!condition) [[unlikely]]
      throw IoError(file_ + ": " + format(text, arguments...));
  }

 private:
  const std::string& file_;
};

/// Parses the header's JSON. The parser keeps the last of two equal keys and any depth, so both are checked on the way.
Json parse_header(const Complaint& complaint, const std::string& text) {
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) {
      keys.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      keys.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const auto name = value.get<std::string>();
      complaint.require(keys.back().insert(name).second, "the header has the key {} twice", quoted(name));
    }
    complaint.require(depth <= 3, "the header is nested too deeply");
    return true;
  };
  try {
    Json header = Json::parse(text, watch);
    complaint.require(header.is_object(), "the header is not a JSON object");
    return header;
  } catch (const Json::exception&) {
    complaint.require(false, "the header is not valid JSON");
    throw;
  }
}

bool is_offset(const Json& value) { return value.is_number_unsigned(); }

Entry read_entry(const Complaint& complaint, const std::string& name, const Json& value) {
  Entry entry;
  entry.name = name;
  const std::string shown = quoted(name);
  const auto field = [&](const char* key) -> const Json& {
    complaint.require(value.is_object() && value.contains(key), "tensor {} has no \"{}\"", shown, key);
    return value[key];
  };
  const Json &dtype = field("dtype"), &shape = field("shape"), &offsets = field("data_offsets");

  complaint.require(dtype.is_string(), "tensor {}: \"dtype\" is not a text", shown);
  const auto* known = std::find_if(std::begin(kDtypeNames), std::end(kDtypeNames), [&](const auto& pair) {
    return dtype.get_ref<const std::string&>() == pair.second;
  });
  complaint.require(known != std::end(kDtypeNames),
                    "tensor {} has dtype {}; F64, F32, BF16, F16, I64, I32, U8 and BOOL can be read", shown,
                    quoted(dtype.get<std::string>()));
  entry.dtype = known->first;

  complaint.require(shape.is_array() && std::all_of(shape.begin(), shape.end(), is_offset),
                    "tensor {}: \"shape\" is not a list of sizes", shown);
  complaint.require(shape.size() <= size_t(Shape::kMaxDims), "tensor {} has {} dimensions; at most {} can be read",
                    shown, shape.size(), Shape::kMaxDims);
  // Strides multiply sizes too and a zero does not make them small, so zeros count as one here.
  int64_t extent = size_of(entry.dtype);
  bool fits = true;
  for (const Json& size : shape) {
    const auto n = size.get<uint64_t>();
    fits =
        fits && n <= uint64_t(INT64_MAX) && !__builtin_mul_overflow(extent, std::max<int64_t>(1, int64_t(n)), &extent);
    if (fits) entry.shape.push_back(int64_t(n));
  }
  complaint.require(fits, "tensor {} is larger than any memory: shape {}", shown, shape.dump());

  complaint.require(offsets.is_array() && offsets.size() == 2 && is_offset(offsets[0]) && is_offset(offsets[1]),
                    "tensor {}: \"data_offsets\" is not [begin, end]", shown);
  entry.begin = offsets[0].get<uint64_t>(), entry.end = offsets[1].get<uint64_t>();
  const uint64_t bytes = uint64_t(entry.shape.numel()) * uint64_t(size_of(entry.dtype));
  complaint.require(entry.begin <= entry.end && entry.end - entry.begin == bytes,
                    "tensor {} {} {} needs {} bytes, but \"data_offsets\" is [{}, {}]", shown, entry.shape, entry.dtype,
                    bytes, entry.begin, entry.end);
  return entry;
}

/// The entries cover [0, data_bytes) exactly once.
void check_layout(const Complaint& complaint, const std::vector<Entry>& entries, uint64_t data_bytes) {
  std::vector<const Entry*> order;
  for (const Entry& e : entries) {
    complaint.require(e.end <= data_bytes,
                      "tensor {} ends at byte {} of the data, but the file has {}; it is truncated", quoted(e.name),
                      e.end, data_bytes);
    order.push_back(&e);
  }
  std::sort(order.begin(), order.end(),
            [](const Entry* a, const Entry* b) { return std::pair(a->begin, a->end) < std::pair(b->begin, b->end); });
  uint64_t at = 0;
  for (const Entry* e : order) {
    complaint.require(e->begin >= at, "tensor {} overlaps another: it begins at byte {}, the one before ends at {}",
                      quoted(e->name), e->begin, at);
    complaint.require(e->begin == at, "{} unused bytes before tensor {}", e->begin - at, quoted(e->name));
    at = e->end;
  }
  complaint.require(at == data_bytes, "{} bytes after the last tensor", data_bytes - at);
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
  const Complaint complaint(file);
  const auto check_keys = [&](const auto& list, const char* what) {
    std::set<std::string> seen;
    for (const auto& [name, value] : list) {
      complaint.require(seen.insert(name).second, "the {} {} is given twice", what, quoted(name));
      bool utf8 = true;
      try {
        Json(name).dump();
      } catch (const Json::exception&) {
        utf8 = false;
      }
      complaint.require(utf8, "the {} {} is not UTF-8", what, quoted(name));
    }
  };
  check_keys(content.tensors, "tensor");
  check_keys(content.metadata, "metadata key");
  for (const auto& [name, tensor] : content.tensors) {
    complaint.require(name != kMetadata, "no tensor can be called {}", kMetadata);
    complaint.require(tensor.defined(), "tensor {} is undefined", quoted(name));
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
  for (const auto& [key, tensor] : tensors) names += (names.empty() ? "" : ", ") + quoted(key);
  throw IoError(format("there is no tensor {}; the file has {}", quoted(name), names.empty() ? "none" : names));
}

Safetensors read_safetensors(const std::string& file) {
  const Complaint complaint(file);
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  complaint.require(std::filesystem::exists(status), "no such file");
  complaint.require(std::filesystem::is_regular_file(status), "not a regular file");
  const uint64_t file_bytes = std::filesystem::file_size(file, error);
  std::ifstream in(file, std::ios::binary);
  complaint.require(!error && in.good(), "cannot be opened: {}", std::strerror(errno));
  complaint.require(file_bytes >= kLengthBytes, "{} bytes are too few for a safetensors file", file_bytes);

  unsigned char length[kLengthBytes] = {};
  in.read(reinterpret_cast<char*>(length), kLengthBytes);
  uint64_t header_bytes = 0;
  for (uint64_t i = 0; i < kLengthBytes; ++i) header_bytes |= uint64_t(length[i]) << 8 * i;
  complaint.require(header_bytes <= kMaxHeaderBytes,
                    "not a safetensors file: it states a header of {} bytes, more than {}", header_bytes,
                    kMaxHeaderBytes);
  complaint.require(header_bytes <= file_bytes - kLengthBytes,
                    "it states a header of {} bytes, but {} follow: truncated, or not a safetensors file", header_bytes,
                    file_bytes - kLengthBytes);
  std::string text(header_bytes, '\0');
  in.read(text.data(), std::streamsize(header_bytes));
  complaint.require(in.good(), "cannot be read");
  const Json header = parse_header(complaint, text);

  Safetensors content;
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == kMetadata) {
      complaint.require(value.is_object(), "\"{}\" is not an object of texts", kMetadata);
      for (const auto& [key, item] : value.items()) {
        complaint.require(item.is_string(), "\"{}\": {} is not a text", kMetadata, quoted(key));
        content.metadata.emplace_back(key, item.get<std::string>());
      }
    } else {
      entries.push_back(read_entry(complaint, name, value));
    }
  }
  const uint64_t data_start = kLengthBytes + header_bytes;
  check_layout(complaint, entries, file_bytes - data_start);
  for (const Entry& e : entries) {
    Tensor t = empty(e.shape, {.dtype = e.dtype});
    if (e.end > e.begin) {
      in.seekg(std::streamoff(data_start + e.begin));
      in.read(static_cast<char*>(t.raw_mutable_data()), std::streamsize(e.end - e.begin));
      complaint.require(in.good(), "tensor {} cannot be read", quoted(e.name));
      if (e.dtype == Dtype::boolean) normalise_booleans(t);
    }
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
