#include <functional>

#include "apps/classifier/spec.h"
#include "apps/train/config.h"
#include "core/random.h"
#include "data/checkpoint/checkpoint.h"
#include "data/datasets/dataset.h"
#include "data/image/image.h"
#include "tests/apps/run_program.h"
#include "tests/data/checkpoint_bytes.h"
#include "tests/support/catch.h"

/// Every reader on damaged files: it reads them or refuses them with an IoError of one line. What else could happen (a
/// crash, a read outside of a buffer) the asan preset sees:
///     VITRINE_FUZZ_ROUNDS=50000 build-asan/vitrine_tests "fuzz: *"
using namespace vitrine;
using namespace vitrine::testing;

namespace {

const std::string kFixtures = std::string(VITRINE_SOURCE_DIR) + "/tests/fixtures/";

std::string bytes_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// A valid file, and how it is read once it lies in the folder under its name.
struct Seed {
  std::string name, bytes;
  std::function<void(const ScratchFolder& folder)> read;
};

/// The bytes with one to three changes: a byte, a bit, a size that wraps or is huge in either byte order, bytes lost or
/// doubled, the end cut off, a character that means something to JSON.
std::string damaged(std::string bytes, const RandomDraw& draw, int64_t round) {
  constexpr std::string_view kCharacters = "0123456789[]{}()\",:-e. \\u'LFalse";
  const int64_t base = round * 16;
  const int changes = 1 + int(draw.bits(base) % 3);
  for (int i = 0; i < changes && !bytes.empty(); ++i) {
    const uint32_t kind = draw.bits(base + 2 + 3 * i) % 9, value = draw.bits(base + 3 + 3 * i);
    const size_t at = draw.bits(base + 1 + 3 * i) % bytes.size();
    std::string size = little(value / 1000 % 2 ? 0U - value % 300 : value % 70'000, 4);
    if (kind < 2) bytes[at] = char(value);
    if (kind == 2) bytes[at] ^= char(1 << value % 8);
    if (kind == 4) std::reverse(size.begin(), size.end());
    if (kind == 3 || kind == 4) bytes.replace(at, 4, size);
    if (kind == 5) bytes.erase(at, 1 + value % 8);
    if (kind == 6) bytes.insert(at, bytes.substr(value % bytes.size(), 1 + value % 8));
    if (kind == 7) bytes[at] = kCharacters[value % kCharacters.size()];
    if (kind == 8 && value % 4 == 0) bytes.resize(at);
  }
  return bytes;
}

/// Images large enough would only take time.
void read_image(const std::string& file) { data::decode_image(file, {.pixels = 300'000}); }

std::vector<Seed> images() {
  std::vector<std::string> files = {kFixtures + "transforms/photo.jpg"};
  for (const auto& entry : std::filesystem::directory_iterator(kFixtures + "image"))
    if (const auto ending = entry.path().extension(); ending != ".json" && ending != ".py")
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<Seed> seeds;
  for (const std::string& file : files) {
    const std::string name = std::filesystem::path(file).filename();
    seeds.push_back({name, bytes_of(file), [name](const ScratchFolder& folder) { read_image(folder.file(name)); }});
  }
  return seeds;
}

std::vector<Seed> checkpoints() {
  std::vector<Seed> seeds;
  const auto add = [&](const std::string& name, const std::string& bytes) {
    seeds.push_back({name, bytes, [name](const ScratchFolder& folder) { data::read_checkpoint(folder.file(name)); }});
  };
  for (const char* name : {"zip.pth", "legacy.pth", "deflated.pth", "bare.pth", "arrays.npz", "packed.npz",
                           "expected.safetensors", "expected_arrays.safetensors"})
    add(name, bytes_of(kFixtures + "checkpoint/" + name));
  // Checksums would hide what lies behind them, so the pickle and a header also come without.
  const std::string archive = bytes_of(kFixtures + "checkpoint/bare.pth");
  const size_t begin = archive.find("\x80\x04"), end = archive.find(".PK\7\10", begin);
  REQUIRE(end < archive.size());
  const auto unchecked = [](const std::string& name, std::string content) {
    return ZipPart{.name = name, .content = std::move(content), .crc = 0};
  };
  add("unchecked.pth", zip({unchecked("x/data.pkl", archive.substr(begin, end + 1 - begin)),
                            unchecked("x/data/0", std::string(400, 'a')), unchecked("x/data/1", std::string(400, 'b')),
                            unchecked("x/data/2", std::string(400, 'c'))}));
  const std::string header = "{'descr': '<f4', 'fortran_order': True, 'shape': (2,2)}";
  add("unchecked.npz", zip({unchecked("w.npy", std::string("\x93NUMPY\1\0", 8) + little(header.size(), 2) + header +
                                                   std::string(16, 'd'))}));
  return seeds;
}

/// The other files of a folder that a data set of one damaged file needs.
std::vector<Seed> datasets() {
  std::vector<Seed> seeds;
  const auto add = [&](const std::string& name, const std::string& bytes, const std::string& form,
                       std::vector<std::pair<std::string, std::string>> others) {
    seeds.push_back({name, bytes, [=](const ScratchFolder& folder) {
                       for (const auto& [other, content] : others) folder.write(other, content);
                       const auto data = data::open_dataset(form + folder.file(""), data::Split::test);
                       for (int64_t i = 0; i < data->size(); ++i) data->image(i), data->label(i);
                     }});
  };
  const auto idx = [](std::string sizes, size_t values) {
    return std::string{0, 0, 8, char(sizes.size() / 4)} + sizes + std::string(values, '\3');
  };
  const std::string count("\0\0\0\5", 4), sides("\0\0\0\3\0\0\0\4", 8);
  const std::string labels = idx(count, 5), pictures = idx(count + sides, 60);
  const char *const label_file = "t10k-labels-idx1-ubyte", *const image_file = "t10k-images-idx3-ubyte";
  add(label_file, labels, "mnist:", {{image_file, pictures}});
  add(image_file, pictures, "mnist:", {{label_file, labels}});
  add(image_file, gzip(pictures), "mnist:", {{label_file, labels}});
  const std::string plane(3072, '\5');
  std::string fine;
  for (int i = 0; i < 100; ++i) fine += "name" + std::to_string(i) + "\n";
  add("test_batch.bin", "\3" + plane + "\4" + plane, "cifar10:", {});
  add("test.bin", "\3\4" + plane + "\5\6" + plane, "cifar100:", {{"fine_label_names.txt", fine}});
  add("fine_label_names.txt", fine, "cifar100:", {{"test.bin", "\3\4" + plane}});
  const std::string picture = data::encode_png({1, 1, 3, {1, 2, 3}});
  add("val.csv", "# a list\na.png,cat\n\"b, c.png\",dog,cat\n",
      "multilabel:", {{"train.csv", "a.png,cat\na.jpg,dog\n"}, {"a.png", picture}, {"b, c.png", picture}});
  return seeds;
}

/// What `train` writes of the model and of the run, beside the tensors.
std::vector<Seed> descriptions() {
  apps::ClassifierSpec spec;
  spec.model = "deit_micro_patch4_28", spec.data = "shapes", spec.labels = {"cat", "dog"};
  spec.options.num_classes = 2, spec.options.image_size = 28, spec.options.rpe = "rpe-1.9-product-ctx-1-k";
  spec.preprocessing.height = spec.preprocessing.width = 28;
  Generator rng;
  const nn::NamedTensors weights = spec.make(Device::cpu(), rng)->state_dict();
  const auto add = [](std::vector<Seed>& seeds, const char* key, const std::string& text, auto&& read) {
    const ScratchFolder folder("seed");
    data::write_safetensors(folder.file("x"), {.tensors = {}, .metadata = {{key, text}}});
    seeds.push_back({"x", folder.read("x"), [=](const ScratchFolder& in) {
                       const std::string file = in.file("x");
                       data::Safetensors content = data::read_safetensors(file);
                       read(content, apps::metadata_json(content, file, key), file);
                     }});
  };
  std::vector<Seed> seeds;
  add(seeds, apps::kSpecKey, spec.json().dump(),
      [weights](data::Safetensors& content, const auto&, const std::string& file) {
        content.tensors = weights;
        apps::load_classifier(content, file, Device::cpu());
      });
  add(seeds, apps::kTrainingKey, apps::TrainConfig{}.json().dump(),
      [](const auto&, const auto& document, const std::string& file) { apps::TrainConfig::from_json(document, file); });
  return seeds;
}

void fuzz(const std::vector<Seed>& seeds, int64_t rounds) {
  int64_t refused = 0;
  for (size_t s = 0; s < seeds.size(); ++s) {
    const Seed& seed = seeds[s];
    const ScratchFolder folder("fuzz");
    folder.write(seed.name, seed.bytes);
    INFO(seed.name);
    CHECK_NOTHROW(seed.read(folder));
    const RandomDraw draw{21, uint64_t(s)};
    for (int64_t round = 0; round < rounds; ++round) {
      INFO("round " << round);
      std::filesystem::remove(folder.file(seed.name));  // some file systems are slow to replace what a file holds
      folder.write(seed.name, damaged(seed.bytes, draw, round));
      try {
        seed.read(folder);
      } catch (const IoError& e) {
        const std::string message = e.what();
        if (!message.starts_with(folder.file("")) || message.find('\n') != std::string::npos) FAIL_CHECK(message);
        ++refused;
      } catch (const std::exception& e) {
        FAIL_CHECK("not an IoError: " << e.what());
      }
    }
  }
  const int64_t all = rounds * int64_t(seeds.size());
  INFO(refused << " of " << all << " refused");
  CHECK(refused > all / 5);
  CHECK(refused < all);
}

int64_t rounds(int64_t usual) {
  const char* asked = std::getenv("VITRINE_FUZZ_ROUNDS");
  return asked ? std::atoll(asked) : usual;
}

}  // namespace

TEST_CASE("fuzz: damaged images are read or refused, never more", "[data]") { fuzz(images(), rounds(100)); }
TEST_CASE("fuzz: damaged checkpoints are read or refused, never more", "[data]") { fuzz(checkpoints(), rounds(250)); }
TEST_CASE("fuzz: damaged descriptions are read or refused, never more", "[data]") {
  fuzz(descriptions(), rounds(1000));
}
TEST_CASE("fuzz: damaged data sets are read or refused, never more", "[data]") { fuzz(datasets(), rounds(100)); }

TEST_CASE("fuzz: many damaged files of every kind", "[.][data][slow]") {
  fuzz(images(), rounds(10'000));
  fuzz(checkpoints(), rounds(10'000));
  fuzz(descriptions(), rounds(10'000));
  fuzz(datasets(), rounds(10'000));
}
