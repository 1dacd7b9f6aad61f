#include "data/datasets/dataset.h"
#include "data/image/image.h"
#include "tests/apps/run_program.h"
#include "tests/support/catch.h"

using namespace vitrine;
using testing::Finished;
using testing::run_program;
using vitrine::testing::Contains;

namespace {

/// The numbers as an idx file has them: big-endian, 4 bytes each.
std::string big_endian(std::initializer_list<uint32_t> numbers) {
  std::string bytes;
  for (const uint32_t n : numbers)
    for (const int shift : {24, 16, 8, 0}) bytes += char(n >> shift);
  return bytes;
}

}  // namespace

TEST_CASE("samples: pictures of a data set decode to its pixels and carry its labels", "[apps][samples]") {
  const testing::ScratchFolder folder("samples");
  const Finished run = run_program(
      {"samples", "--data", "shapes", "--count", "3", "--seed", "5", "--out", folder.file("a/b"), "--json"});
  REQUIRE(run.status == 0);
  const auto dataset = data::open_dataset("shapes", data::Split::test, 5);
  const nlohmann::json list = run.json();
  REQUIRE(list.size() == 3);
  for (int64_t i = 0; i < 3; ++i) {
    CHECK(list[size_t(i)]["index"] == dataset->label(i));
    CHECK(list[size_t(i)]["label"] == dataset->labels()[size_t(dataset->label(i))]);
    const data::Image image = data::decode_image(list[size_t(i)]["file"]);
    CHECK(image.pixels == dataset->image(i).pixels);
  }
  CHECK(run_program({"samples", "--data", "shapes", "--split", "train", "--out", folder.file("c")}).status == 0);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.file("c")), {}) == 10);
}

TEST_CASE("samples: a grey image is a grey file, and no label leads out of the folder", "[apps][samples]") {
  const testing::ScratchFolder folder("samples");
  std::string image;
  for (int i = 0; i < 28 * 28; ++i) image += char(i % 251);
  folder.write("t10k-images-idx3-ubyte", big_endian({0x803, 1, 28, 28}) + image);
  folder.write("t10k-labels-idx1-ubyte", big_endian({0x801, 1}) + std::string(1, '\0'));  // "T-shirt/top"
  const Finished run = run_program(
      {"samples", "--data", "fashion-mnist:" + folder.file(""), "--count", "1", "--out", folder.file("out")});
  INFO(run.err);
  REQUIRE(run.status == 0);
  CHECK(run.out == folder.file("out/00000-t-shirt-top.png") + "\n");
  const data::Image read = data::decode_image(folder.file("out/00000-t-shirt-top.png"));
  CHECK(read.pixels[3 * 250] == 250);
  std::string grey;
  for (size_t i = 0; i < read.pixels.size(); i += 3) grey += char(read.pixels[i]);
  CHECK(grey == image);
}

TEST_CASE("samples: --folders writes what imagefolder reads, in the same order of classes", "[apps][samples]") {
  const testing::ScratchFolder folder("samples");
  const auto written = [&](const char* split) {
    const Finished run = run_program(
        {"samples", "--data", "shapes", "--count", "60", "--split", split, "--folders", "--out", folder.file("set")});
    INFO(run.err);
    CHECK(run.status == 0);
    const auto half = std::string(split) == "train" ? data::Split::train : data::Split::test;
    const auto from = data::open_dataset("shapes", half),
               to = data::open_dataset("imagefolder:" + folder.file("set"), half);
    REQUIRE(to->size() == 60);
    CHECK(to->num_classes() == from->num_classes());
    // Images of a class keep their order, so the first of each is known.
    for (int64_t i = 0, seen = -1; i < to->size(); ++i) {
      if (to->label(i) == seen) continue;
      seen = to->label(i);
      int64_t first = 0;
      while (from->label(first) != seen) ++first;
      CHECK(to->image(i).pixels == from->image(first).pixels);
    }
    return to->labels();
  };
  CHECK(written("train") == written("test"));
  CHECK_THAT(run_program({"samples", "--data", "shapes", "--all", "--count", "3", "--out", folder.file("x")}).err,
             Contains("--count"));
}

TEST_CASE("samples: wrong usage is one message", "[apps][samples]") {
  const testing::ScratchFolder folder("samples");
  const auto fails = [&](const std::vector<std::string>& more, int status) {
    std::vector<std::string> arguments = {"samples", "--out", folder.file("x")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Finished run = run_program(arguments);
    INFO(run.err);
    CHECK(run.status == status);
    CHECK(run.is_one_error());
    return run.err;
  };
  CHECK_THAT(fails({"--data", "shape"}, 2), Contains("shapes"));
  CHECK_THAT(fails({"--data", "shapes", "--count", "0"}, 2), Contains("--count"));
  CHECK_THAT(fails({"--data", "shapes", "--count", "99999"}, 2), Contains("--count 99999 is more than"));
  CHECK_THAT(fails({"--data", "shapes", "--split", "val"}, 2), Contains("--split"));
  CHECK_THAT(fails({"--data", "fashion-mnist:/nowhere"}, 3), Contains("/nowhere"));
  CHECK(folder.list().empty());
  folder.write("x", "a file");
  CHECK_THAT(fails({"--data", "shapes"}, 1), Contains("cannot be made"));
}
