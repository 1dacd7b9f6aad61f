#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/random.h"
#include "data/checkpoint/safetensors.h"
#include "tests/support/catch.h"

using namespace vitrine;
using data::read_safetensors;
using data::Safetensors;
using data::write_safetensors;

namespace {

/// A folder of its own, removed with everything in it.
class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / ("vitrine_safetensors_" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  size_t files() const {
    return size_t(std::distance(std::filesystem::directory_iterator(path_), std::filesystem::directory_iterator()));
  }

 private:
  std::filesystem::path path_;
};

void write_bytes(const std::string& file, const std::string& bytes) { std::ofstream(file, std::ios::binary) << bytes; }

std::string read_bytes(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// A file with this header length (that of the header if negative), header and data.
std::string compose(const std::string& header, const std::string& bytes, int64_t stated = -1) {
  const uint64_t length = stated < 0 ? header.size() : uint64_t(stated);
  std::string out;
  for (int i = 0; i < 8; ++i) out += char(length >> 8 * i);
  return out + header + bytes;
}

/// The message of the IoError that reading `bytes` throws; "no error" if it reads.
std::string failure(const Folder& folder, const std::string& bytes) {
  const std::string file = folder.file("bad.safetensors");
  write_bytes(file, bytes);
  try {
    read_safetensors(file);
  } catch (const IoError& e) {
    const std::string message = e.what();
    CHECK(message.starts_with(file + ": "));
    CHECK(message.find('\n') == std::string::npos);
    return message.substr(file.size() + 2);
  }
  return "no error";
}

bool equal_bytes(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.raw_data(), b.raw_data(), size_t(a.numel() * size_of(a.dtype()))) == 0;
}

Safetensors sample_content() {
  Generator g{7, 0};
  Safetensors content;
  content.metadata = {{"format", "pt"}, {"a \"quoted\" key", "line\nbreak, \xc3\xa9"}};
  for (const Dtype d : kAllDtypes)
    content.tensors.emplace_back("of." + to_string(d),
                                 random_uniform({3, 5}, g, 0, 100, {}).to(d == Dtype::boolean ? Dtype::u8 : d).to(d));
  content.tensors.emplace_back("scalar", scalar(-0.5));
  content.tensors.emplace_back("empty", empty({4, 0, 2}));
  content.tensors.emplace_back("", ones({1, 1, 2, 1, 1, 3, 1, 1}));
  return content;
}

}  // namespace

TEST_CASE("safetensors: every dtype, order and metadata survive a round trip", "[data]") {
  const Folder folder;
  const Safetensors content = sample_content();
  write_safetensors(folder.file("a"), content);
  const Safetensors back = read_safetensors(folder.file("a"));
  CHECK(back.metadata == content.metadata);
  REQUIRE(back.tensors.size() == content.tensors.size());
  for (size_t i = 0; i < back.tensors.size(); ++i) {
    INFO(content.tensors[i].first);
    CHECK(back.tensors[i].first == content.tensors[i].first);
    CHECK(equal_bytes(back.tensors[i].second, content.tensors[i].second));
  }
  write_safetensors(folder.file("b"), back);
  CHECK(read_bytes(folder.file("a")) == read_bytes(folder.file("b")));
  CHECK(folder.files() == 2);
}

TEST_CASE("safetensors: the bytes are those of the format", "[data]") {
  const Folder folder;
  // Composed by hand from the format's description: the wide tensor's data lies first, the header keeps the order.
  std::string header =
      R"({"b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::string bytes = compose(header, std::string("\0\0\x80\x3f\0\0\0\xc0\x01\x02\x03", 11));
  write_bytes(folder.file("hand"), bytes);
  const Safetensors read = read_safetensors(folder.file("hand"));
  CHECK(read.at("a").to_vector() == std::vector<double>{1, -2});
  CHECK(read.at("b").to_vector() == std::vector<double>{1, 2, 3});
  CHECK(read.at("a").shape() == Shape{2, 1});
  write_safetensors(folder.file("ours"), read);
  CHECK(read_bytes(folder.file("ours")) == bytes);
}

TEST_CASE("safetensors: the data starts at a multiple of 8 whatever the header's length", "[data]") {
  const Folder folder;
  for (size_t n = 1; n <= 8; ++n) {
    write_safetensors(folder.file("a"), {.tensors = {{std::string(n, 'x'), ones({1})}}, .metadata = {}});
    const std::string bytes = read_bytes(folder.file("a"));
    CHECK(bytes[0] % 8 == 0);
    CHECK(bytes.size() == 8 + size_t(bytes[0]) + 4);
  }
}

TEST_CASE("safetensors: any strides are written in row-major order", "[data]") {
  const Folder folder;
  const Tensor x = from_vector({1, 2, 3, 4, 5, 6}, {2, 3});
  write_safetensors(folder.file("a"),
                    {.tensors = {{"t", x.transpose(0, 1)}, {"n", x.narrow(1, 1, 2)}}, .metadata = {}});
  const Safetensors read = read_safetensors(folder.file("a"));
  CHECK(read.at("t").to_vector() == std::vector<double>{1, 4, 2, 5, 3, 6});
  CHECK(read.at("n").to_vector() == std::vector<double>{2, 3, 5, 6});
}

TEST_CASE("safetensors: a bool byte other than 0 is true", "[data]") {
  const Folder folder;
  write_bytes(folder.file("a"),
              compose(R"({"m":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}})", std::string("\x00\x01\xff", 3)));
  CHECK(read_safetensors(folder.file("a")).at("m").to_vector() == std::vector<double>{0, 1, 1});
}

TEST_CASE("safetensors: hostile files end in one clear error", "[data]") {
  const Folder folder;
  const auto of = [&](const std::string& header, size_t bytes, int64_t stated = -1) {
    return failure(folder, compose(header, std::string(bytes, '\1'), stated));
  };
  const auto tensor = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"x":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  CHECK(of(tensor("F32", "[2]", "[0,8]"), 8) == "no error");
  // The length of the header.
  CHECK(failure(folder, "") == "0 bytes are too few for a safetensors file");
  CHECK(failure(folder, "1234567") == "7 bytes are too few for a safetensors file");
  CHECK(of("{}", 0, INT64_MAX) ==
        "not a safetensors file: it states a header of 9223372036854775807 bytes, more than 100000000");
  CHECK(failure(folder, std::string(8, '\xff')).find("header of 18446744073709551615 bytes") != std::string::npos);
  CHECK(of("{}", 0, 3) == "it states a header of 3 bytes, but 2 follow: truncated, or not a safetensors file");
  // The JSON.
  CHECK(of("", 0) == "the header is not valid JSON");
  CHECK(of("{\"x\":", 0) == "the header is not valid JSON");
  CHECK(of("[1]", 0) == "the header is not a JSON object");
  CHECK(of("{\"\xff\":1}", 0) == "the header is not valid JSON");
  CHECK(of("{\"x\":" + std::string(100000, '['), 0) == "the header is nested too deeply");
  CHECK(
      of(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
         2) == "the header has the key \"x\" twice");
  CHECK(of(R"({"x":{"dtype":"U8","dtype":"I32","shape":[1],"data_offsets":[0,1]}})", 1) ==
        "the header has the key \"dtype\" twice");
  CHECK(of(R"({"__metadata__":{"a":1}})", 0) == "\"__metadata__\": \"a\" is not a text");
  CHECK(of(R"({"__metadata__":[]})", 0) == "\"__metadata__\" is not an object of texts");
  CHECK(of(R"({"x":7})", 0) == "tensor \"x\" has no \"dtype\"");
  CHECK(of(R"({"x":{"dtype":"U8","shape":[1]}})", 0) == "tensor \"x\" has no \"data_offsets\"");
  CHECK(of(R"({"a\nb":{"dtype":"U8"}})", 0) == "tensor \"a\\nb\" has no \"shape\"");
  // dtype and shape.
  CHECK(of(tensor("F8_E4M3", "[1]", "[0,1]"), 1) ==
        "tensor \"x\" has dtype \"F8_E4M3\"; F64, F32, BF16, F16, I64, I32, U8 and BOOL can be read");
  CHECK(of(tensor("U8", "[-1]", "[0,1]"), 1) == "tensor \"x\": \"shape\" is not a list of sizes");
  CHECK(of(tensor("U8", "[1.0]", "[0,1]"), 1) == "tensor \"x\": \"shape\" is not a list of sizes");
  CHECK(of(tensor("U8", "1", "[0,1]"), 1) == "tensor \"x\": \"shape\" is not a list of sizes");
  CHECK(of(tensor("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1) == "tensor \"x\" has 9 dimensions; at most 8 can be read");
  // 2^32 * 2^32 elements wrap to 0 bytes; a zero among huge sizes still makes huge strides.
  CHECK(of(tensor("U8", "[4294967296,4294967296]", "[0,0]"), 0) ==
        "tensor \"x\" is larger than any memory: shape [4294967296,4294967296]");
  CHECK(of(tensor("F32", "[0,4611686018427387904,8]", "[0,0]"), 0).find("larger than any memory") != std::string::npos);
  CHECK(of(tensor("U8", "[18446744073709551615]", "[0,0]"), 0).find("larger than any memory") != std::string::npos);
  // Offsets.
  CHECK(of(tensor("F32", "[2]", "[0,4]"), 8) == "tensor \"x\" [2] f32 needs 8 bytes, but \"data_offsets\" is [0, 4]");
  CHECK(of(tensor("F32", "[2]", "[8,0]"), 8) == "tensor \"x\" [2] f32 needs 8 bytes, but \"data_offsets\" is [8, 0]");
  CHECK(of(tensor("F32", "[2]", "[-8,0]"), 8) == "tensor \"x\": \"data_offsets\" is not [begin, end]");
  CHECK(of(tensor("F32", "[2]", "[0,8,16]"), 8) == "tensor \"x\": \"data_offsets\" is not [begin, end]");
  CHECK(of(tensor("F32", "[2]", "[0,8]"), 7) ==
        "tensor \"x\" ends at byte 8 of the data, but the file has 7; it is truncated");
  CHECK(of(tensor("F32", "[2]", "[18446744073709551608,0]"), 8).find("needs 8 bytes") != std::string::npos);
  CHECK(of(tensor("F32", "[2]", "[4,12]"), 12) == "4 unused bytes before tensor \"x\"");
  CHECK(of(tensor("F32", "[2]", "[0,8]"), 9) == "1 bytes after the last tensor");
  CHECK(
      of(R"({"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"y":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
         6) == "tensor \"y\" overlaps another: it begins at byte 2, the one before ends at 4");
  // Not files.
  CHECK_THROWS_WITH(read_safetensors(folder.file("none")), folder.file("none") + ": no such file");
  CHECK_THROWS_WITH(read_safetensors(folder.file("")), folder.file("") + ": not a regular file");
}

TEST_CASE("safetensors: every truncation is an error", "[data]") {
  const Folder folder;
  write_safetensors(folder.file("a"), sample_content());
  const std::string whole = read_bytes(folder.file("a"));
  for (size_t n = 0; n < whole.size(); n += n < 900 ? 7 : 1) {
    INFO(n << " of " << whole.size() << " bytes");
    CHECK(failure(folder, whole.substr(0, n)) != "no error");
  }
}

TEST_CASE("safetensors: a failed write leaves nothing behind", "[data]") {
  const Folder folder;
  const std::string file = folder.file("a");
  write_bytes(file, "before");
  const Tensor x = ones({2});
  CHECK_THROWS_WITH(write_safetensors(file, {.tensors = {{"x", x}, {"x", x}}, .metadata = {}}),
                    file + ": the tensor \"x\" is given twice");
  CHECK_THROWS_WITH(write_safetensors(file, {.tensors = {{"__metadata__", x}}, .metadata = {}}),
                    file + ": no tensor can be called __metadata__");
  CHECK_THROWS_WITH(write_safetensors(file, {.tensors = {{"x", Tensor()}}, .metadata = {}}),
                    file + ": tensor \"x\" is undefined");
  CHECK_THROWS_AS(write_safetensors(file, {.tensors = {{"\xff", x}}, .metadata = {}}), IoError);
  CHECK(read_bytes(file) == "before");
  CHECK_THROWS_AS(write_safetensors(folder.file("no/such/folder"), {.tensors = {{"x", x}}, .metadata = {}}), IoError);
  CHECK_THROWS_AS(write_safetensors(folder.file(""), {.tensors = {{"x", x}}, .metadata = {}}), IoError);
  CHECK_THROWS_WITH(write_safetensors("/dev/null", {.tensors = {{"x", x}}, .metadata = {}}),
                    "cannot write /dev/null: it is not a regular file");
  CHECK(folder.files() == 1);
}

TEST_CASE("safetensors: a missing tensor is named together with those that exist", "[data]") {
  const Safetensors content{.tensors = {{"x", ones({1})}, {"y", ones({1})}}, .metadata = {}};
  CHECK(content.find("z") == nullptr);
  CHECK_THROWS_WITH(content.at("z"), "there is no tensor \"z\"; the file has \"x\", \"y\"");
}
