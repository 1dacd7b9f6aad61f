#include <map>
#include <set>

#include "apps/samples/choice.h"
#include "data/datasets/dataset.h"
#include "data/image/image.h"
#include "tests/apps/run_program.h"
#include "tests/support/catch.h"

using namespace vitrine;
using Catch::Matchers::Contains;
using testing::Finished;
using testing::run_program;
using testing::ScratchFolder;

TEST_CASE("samples: the choice is spread over the classes and depends on the seed alone", "[apps][samples]") {
  std::vector<int64_t> classes;
  for (int64_t i = 0; i < 40; ++i) classes.push_back(i < 30 ? 0 : i < 36 ? 1 : 2);  // 30, 6 and 4 images
  const auto counts = [&](int64_t count, uint64_t seed) {
    std::map<int64_t, int> per_class;
    const std::vector<int64_t> chosen = apps::spread_choice(classes, 3, count, seed);
    CHECK(std::is_sorted(chosen.begin(), chosen.end()));
    CHECK(std::set<int64_t>(chosen.begin(), chosen.end()).size() == size_t(count));
    for (const int64_t i : chosen) ++per_class[classes[size_t(i)]];
    return per_class;
  };
  CHECK(counts(9, 0) == std::map<int64_t, int>{{0, 3}, {1, 3}, {2, 3}});
  CHECK(counts(15, 1) == std::map<int64_t, int>{{0, 6}, {1, 5}, {2, 4}});
  CHECK(counts(40, 2) == std::map<int64_t, int>{{0, 30}, {1, 6}, {2, 4}});
  CHECK(apps::spread_choice(classes, 3, 9, 3) == apps::spread_choice(classes, 3, 9, 3));
  CHECK(apps::spread_choice(classes, 3, 9, 3) != apps::spread_choice(classes, 3, 9, 4));
}

TEST_CASE("samples: file names are safe", "[apps][samples]") {
  CHECK(apps::sample_name(12, "Ankle boot") == "00012-ankle-boot.png");
  CHECK(apps::sample_name(0, "T-shirt/top") == "00000-t-shirt-top.png");
  CHECK(apps::sample_name(123456, "../..") == "123456.png");
  CHECK(apps::sample_name(7, "größe 2") == "00007-gr-e-2.png");
  CHECK(apps::sample_name(1, std::string(500, 'a')).size() < 80);
}

TEST_CASE("samples: writes the images of the dataset", "[apps][samples]") {
  const ScratchFolder folder("samples");
  const std::string out = folder.file("a/b");
  const Finished run =
      run_program({"samples", "--data", "shapes", "--count", "10", "--out", out, "--seed", "3", "--json"});
  INFO(run.err);
  REQUIRE(run.status == 0);
  CHECK(run.err.empty());
  const auto dataset = data::open_dataset("shapes", data::Split::test, 3);
  std::set<std::string> labels;
  REQUIRE(run.json().size() == 10);
  for (const auto& row : run.json()) {
    const int64_t index = row["index"];
    CHECK(row["label"] == dataset->labels()[size_t(dataset->label(index))]);
    labels.insert(row["label"].get<std::string>());
    const data::Image image = data::decode_image(row["file"]);
    std::vector<uint8_t> planes(3 * 32 * 32);
    dataset->pixels(index, planes.data());
    REQUIRE(image.pixels.size() == planes.size());
    bool equal = true;
    for (size_t i = 0; i < 32 * 32; ++i)
      for (size_t c = 0; c < 3; ++c) equal = equal && image.pixels[i * 3 + c] == planes[c * 32 * 32 + i];
    CHECK(equal);
  }
  CHECK(labels.size() == 10);
  const Finished train = run_program({"samples", "--data", "shapes", "--count", "1", "--out", out, "--split", "train"});
  CHECK(train.status == 0);
  CHECK_THAT(train.out, Contains(out + "/") && Contains(".png"));
}

TEST_CASE("samples: wrong requests", "[apps][samples]") {
  const ScratchFolder folder("samples");
  const auto fails = [&](const std::string& data, const std::string& count, const std::string& out, int status) {
    const Finished run = run_program({"samples", "--data", data, "--count", count, "--out", out});
    INFO(run.err);
    CHECK(run.status == status);
    CHECK(run.is_one_error());
    return run.err;
  };
  CHECK_THAT(fails("shapes", "2001", folder.file("x"), 2), Contains("--count 2001") && Contains("2000 images"));
  CHECK_THAT(fails("shapes", "0", folder.file("x"), 2), Contains("--count"));
  CHECK_THAT(fails("shaps", "1", folder.file("x"), 2), Contains("unknown dataset 'shaps'"));
  CHECK_THAT(fails("fashion-mnist:" + folder.file("none"), "1", folder.file("x"), 3), Contains("none"));
  CHECK(folder.list().empty());
  CHECK_THAT(fails("shapes", "1", folder.write("file", ""), 3), Contains("cannot be made"));
}
