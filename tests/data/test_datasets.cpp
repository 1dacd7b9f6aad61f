#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <span>

#include "core/error.h"
#include "data/checkpoint/sha256.h"
#include "data/datasets/byte_reader.h"
#include "data/datasets/formats.h"
#include "tests/data/checkpoint_bytes.h"
#include "tests/support/catch.h"

using namespace vitrine;
using namespace vitrine::data;
using vitrine::testing::Contains;
using vitrine::testing::gzip;

namespace {

/// A folder of its own, removed with everything in it.
class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / ("vitrine_datasets_" + std::to_string(getpid()))) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string path() const { return path_.string(); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  void write(const std::string& name, const std::string& bytes) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << bytes;
  }

 private:
  std::filesystem::path path_;
};

std::string idx(const std::vector<uint32_t>& sizes, const std::string& values, char type = 8) {
  std::string out = {0, 0, type, char(sizes.size())};
  for (const uint32_t n : sizes)
    for (int shift = 24; shift >= 0; shift -= 8) out += char(n >> shift);
  return out + values;
}

/// `n` bytes: first, first + step, ..., with a jump after every 1000, so that planes of 32 x 32 differ.
std::string run(size_t n, int first = 0, int step = 1) {
  std::string out(n, '\0');
  for (size_t i = 0; i < n; ++i) out[i] = char(first + int(i) * step + int(i) / 1000 * 11);
  return out;
}

const std::string kLabels = idx({3}, {9, 0, 4});      // three labels
const std::string kImages = idx({3, 2, 3}, run(18));  // three images of 2 x 3
const char *const kLabelFile = "train-labels-idx1-ubyte", *const kImageFile = "train-images-idx3-ubyte";

/// The image's channels one after the other, grey thrice.
std::vector<uint8_t> pixels_of(const Dataset& d, int64_t i) {
  const Image image = d.image(i);
  CHECK(image.height == d.preprocessing().height);
  CHECK(image.width == d.preprocessing().width);
  CHECK(image.channels == (d.preprocessing().grey ? 1 : 3));
  std::vector<uint8_t> out;
  for (size_t c = 0; c < 3; ++c)
    for (size_t k = 0; k < size_t(image.height * image.width); ++k)
      out.push_back(image.channels == 1 ? image.pixels[k] : image.pixels[3 * k + c]);
  return out;
}

/// The message of the error that opening throws; "no error" if it opens.
template <class E = IoError>
std::string failure(const std::string& data_string, Split split = Split::train) {
  try {
    open_dataset(data_string, split);
  } catch (const E& e) {
    const std::string message = e.what();
    CHECK(message.find('\n') == std::string::npos);
    return message;
  }
  return "no error";
}

/// The message about a pair of idx files, without the folder.
std::string idx_failure(const std::string& labels, const std::string& images) {
  const Folder folder;
  folder.write(kLabelFile, labels);
  folder.write(kImageFile, images);
  std::string message = failure("mnist:" + folder.path());
  for (size_t at; (at = message.find(folder.path() + "/")) != std::string::npos;)
    message.erase(at, folder.path().size() + 1);
  return message;
}

void check_three_images(const Dataset& d) {
  REQUIRE(d.size() == 3);
  CHECK(d.num_classes() == 10);
  CHECK(d.preprocessing().grey);
  CHECK(d.preprocessing().height == 2);
  CHECK(d.preprocessing().width == 3);
  CHECK(d.label(0) == 9);
  CHECK(d.label(1) == 0);
  CHECK(d.label(2) == 4);
  CHECK(pixels_of(d, 1) == std::vector<uint8_t>{6, 7, 8, 9, 10, 11, 6, 7, 8, 9, 10, 11, 6, 7, 8, 9, 10, 11});
}

}  // namespace

TEST_CASE("idx files are read plain and gzipped, under each of their names", "[unit]") {
  for (const bool zipped : {false, true})
    for (const bool dotted : {false, true}) {
      INFO("zipped " << zipped << " dotted " << dotted);
      const Folder folder;
      const std::string between = dotted ? "." : "-", suffix = zipped ? ".gz" : "";
      for (const std::string stem : {"train", "t10k"}) {
        folder.write(stem + "-labels" + between + "idx1-ubyte" + suffix, zipped ? gzip(kLabels) : kLabels);
        folder.write(stem + "-images" + between + "idx3-ubyte" + suffix, zipped ? gzip(kImages) : kImages);
      }
      check_three_images(*open_dataset("mnist:" + folder.path(), Split::train));
      check_three_images(*open_dataset("fashion-mnist:" + folder.path(), Split::test));
      CHECK(open_dataset("kmnist:" + folder.path(), Split::test)->labels()[3] == "tsu");
    }
}

TEST_CASE("what a file holds decides whether it is gzipped, not its name; several gzip members are one file",
          "[unit]") {
  const Folder folder;
  folder.write(std::string(kLabelFile) + ".gz", kLabels);
  folder.write(kImageFile, gzip(kImages.substr(0, 10)) + gzip("") + gzip(kImages.substr(10)));
  const auto d = open_dataset("mnist:" + folder.path(), Split::train);
  check_three_images(*d);
  CHECK(d->description() == "MNIST train: 3 grey images of 2 x 3, 10 classes, from " + folder.path());
}

TEST_CASE("a wrong idx file is one error that names the file", "[unit]") {
  const std::string zipped = gzip(kImages);
  CHECK(idx_failure("", kImages) == "train-labels-idx1-ubyte: truncated: 4 bytes missing");
  CHECK(idx_failure("PK" + kLabels, kImages) ==
        "train-labels-idx1-ubyte: not an idx file: it begins with bytes 80 75 instead of 0 0");
  CHECK(idx_failure(idx({3}, {9, 0, 4}, 13), kImages) ==
        "train-labels-idx1-ubyte: its values have idx type 13; only 8, unsigned bytes, can be read");
  CHECK(idx_failure(kLabels, kLabels) == "train-images-idx3-ubyte: 1 dimensions where 3 are expected");
  CHECK(idx_failure(kLabels, idx({3, 2}, run(6))) == "train-images-idx3-ubyte: 2 dimensions where 3 are expected");
  CHECK(idx_failure(kLabels, kImages.substr(0, 14)) == "train-images-idx3-ubyte: truncated: 2 bytes missing");
  CHECK(idx_failure(kLabels, idx({3, 0, 3}, "")) == "train-images-idx3-ubyte: dimension 1 is 0; 1 to 1024 can be read");
  CHECK(idx_failure(kLabels, idx({3, 2, 4000000000}, run(18))) ==
        "train-images-idx3-ubyte: dimension 2 is 4000000000; 1 to 1024 can be read");
  CHECK(idx_failure(idx({4000000000}, run(3)), kImages) ==
        "train-labels-idx1-ubyte: dimension 0 is 4000000000; 1 to 10000000 can be read");
  CHECK(idx_failure(kLabels, idx({10000000, 1024, 1024}, run(18))) ==
        "train-images-idx3-ubyte: it states 10485760000000 bytes; at most 2147483648 can be read");
  CHECK(idx_failure(kLabels, kImages.substr(0, kImages.size() - 1)) ==
        "train-images-idx3-ubyte: truncated: it states 18 bytes of data, but the file can hold only 17");
  CHECK(idx_failure(kLabels, kImages + "x") ==
        "train-images-idx3-ubyte: more data than the 18 bytes that its header states");
  CHECK(idx_failure(idx({2}, {1, 2}), kImages) ==
        "train-labels-idx1-ubyte: 2 labels, but train-images-idx3-ubyte has 3 images");
  CHECK(idx_failure(idx({3}, {9, 10, 4}), kImages) ==
        "train-labels-idx1-ubyte: label 1 is 10; MNIST has classes 0 to 9");
}

TEST_CASE("wrong gzip data is one error that names the file", "[unit]") {
  const std::string zipped = gzip(kImages);
  CHECK(idx_failure(kLabels, zipped.substr(0, zipped.size() - 1)) ==
        "train-images-idx3-ubyte: truncated: its gzip data has no end");
  CHECK(idx_failure(kLabels, zipped.substr(0, 20)) == "train-images-idx3-ubyte: truncated: its gzip data has no end");
  CHECK(idx_failure(kLabels, zipped + "junk") ==
        "train-images-idx3-ubyte: damaged gzip data, or bytes after its end: incorrect header check");
  CHECK(idx_failure(kLabels, gzip(kImages + "x")) ==
        "train-images-idx3-ubyte: more data than the 18 bytes that its header states");
  CHECK(idx_failure(kLabels, gzip(kImages.substr(0, kImages.size() - 5))) ==
        "train-images-idx3-ubyte: truncated: 5 bytes missing");
  std::string checksum = zipped;
  checksum[checksum.size() - 5] ^= 1;
  CHECK(idx_failure(kLabels, checksum) == "train-images-idx3-ubyte: damaged gzip data: incorrect data check");
  std::string block = zipped;
  block[10] = char(0xff);
  CHECK(idx_failure(kLabels, block) == "train-images-idx3-ubyte: damaged gzip data: invalid block type");
  // A small file of a large claim: refused before memory is asked for.
  CHECK(idx_failure(idx({1000}, run(1000, 0, 0)), gzip(idx({1000, 1024, 1024}, "")))
            .starts_with(
                "train-images-idx3-ubyte: truncated: it states 1048576000 bytes of data, but the file can hold only "));
  // A bomb: what exceeds the header is never inflated.
  const std::string bomb = gzip(kImages + std::string(size_t(64) << 20, '\0'));
  CHECK(bomb.size() < 100'000);
  CHECK(idx_failure(kLabels, bomb) == "train-images-idx3-ubyte: more data than the 18 bytes that its header states");
}

TEST_CASE("missing files: the error says where it looked and what to do", "[unit]") {
  const Folder folder;
  const std::string labels = folder.path() + ": no train-labels-idx1-ubyte and no train-labels-idx1-ubyte.gz there";
  CHECK(failure("mnist:" + folder.path()) == labels);
  folder.write(kLabelFile, kLabels);
  CHECK(failure("mnist:" + folder.path()) ==
        folder.path() + ": no train-images-idx3-ubyte and no train-images-idx3-ubyte.gz there");
  CHECK(failure("fashion-mnist:/nonexistent", Split::test) ==
        "/nonexistent: no t10k-labels-idx1-ubyte and no t10k-labels-idx1-ubyte.gz there");
  std::filesystem::create_directories(folder.file(kImageFile));
  CHECK(failure("mnist:" + folder.path()) == folder.file(kImageFile) + ": not a regular file");
  CHECK_THROWS_WITH(open_idx({}, "/nonexistent", Split::train, "install it"),
                    "/nonexistent: no train-labels-idx1-ubyte and no train-labels-idx1-ubyte.gz there; install it");
}

TEST_CASE("Debian's Fashion-MNIST", "[unit]") {
  if (!std::filesystem::exists("/usr/share/datasets/fashion-mnist")) {
    CHECK_THAT(failure("fashion-mnist"), Contains("install the package dataset-fashion-mnist"));
    CHECK_THAT(failure("fashion-mnist"), Contains("fashion-mnist:DIR"));
    return;
  }
  const auto test = open_dataset("fashion-mnist", Split::test);
  REQUIRE(test->size() == 10000);
  CHECK(test->preprocessing().height == 28);
  CHECK(test->preprocessing().width == 28);
  std::vector<int> count(10);
  for (int64_t i = 0; i < test->size(); ++i) ++count[size_t(test->label(i))];
  CHECK(count == std::vector<int>(10, 1000));
  CHECK(test->labels()[size_t(test->label(0))] == "Ankle boot");
  // The mean that preprocessing subtracts is that of the training pixels; the test's differ by their sampling.
  double sum = 0;
  for (int64_t i = 0; i < test->size(); ++i)
    for (const uint8_t v : pixels_of(*test, i)) sum += v;
  CHECK(sum / (10000.0 * 3 * 784 * 255) == Catch::Approx(test->preprocessing().mean[0]).margin(0.002));
}

TEST_CASE("CIFAR-10 is read from its folder or the one above", "[unit]") {
  for (const std::string inner : {"", "cifar-10-batches-bin/"}) {
    const Folder folder;
    for (int k = 1; k <= 5; ++k)
      folder.write(inner + "data_batch_" + std::to_string(k) + ".bin",
                   char(k) + run(3072, k) + char(k + 4) + run(3072, 7 * k, 3));
    folder.write(inner + "test_batch.bin", char(3) + run(3072, 50));
    const auto train = open_dataset("cifar10:" + folder.path(), Split::train);
    REQUIRE(train->size() == 10);
    CHECK_FALSE(train->preprocessing().grey);
    CHECK(train->labels()[3] == "cat");
    for (int k = 1; k <= 5; ++k) {
      CHECK(train->label(2 * k - 2) == k);
      CHECK(train->label(2 * k - 1) == k + 4);
      const std::string expected = run(3072, 7 * k, 3);
      CHECK(pixels_of(*train, 2 * k - 1) == std::vector<uint8_t>(expected.begin(), expected.end()));
    }
    const auto test = open_dataset("cifar10:" + folder.path(), Split::test);
    CHECK(test->size() == 1);
    CHECK(test->label(0) == 3);
  }
}

TEST_CASE("a wrong CIFAR-10 file is one error that names the file", "[unit]") {
  const Folder folder;
  const std::string file = folder.file("test_batch.bin"), data = "cifar10:" + folder.path();
  CHECK(failure(data, Split::test) == file + ": no such file");
  CHECK(failure(data, Split::train) == folder.file("data_batch_1.bin") + ": no such file");
  folder.write("test_batch.bin", "");
  CHECK(failure(data, Split::test) == file + ": not CIFAR-10's binary version: 0 bytes are not a multiple of 3073");
  folder.write("test_batch.bin", run(3072));
  CHECK(failure(data, Split::test) == file + ": not CIFAR-10's binary version: 3072 bytes are not a multiple of 3073");
  folder.write("test_batch.bin", char(1) + run(3072) + char(10) + run(3072));
  CHECK(failure(data, Split::test) == file + ": image 1 has label 10; CIFAR-10 has classes 0 to 9");
  folder.write("test_batch.bin", gzip(char(1) + run(3072)));
  CHECK(failure(data, Split::test) == file + ": gzipped; CIFAR-10's binary version must be unpacked");
}

namespace {

/// `count` names, one a line.
std::string names(const std::string& stem, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += stem + std::to_string(i) + "\n";
  return text;
}

/// A record of CIFAR-100.
std::string record(int coarse, int fine, int first) { return std::string{char(coarse), char(fine)} + run(3072, first); }

}  // namespace

TEST_CASE("CIFAR-100 is read with fine or coarse labels, and the names beside it", "[unit]") {
  for (const std::string inner : {"", "cifar-100-binary/"}) {
    const Folder folder;
    folder.write(inner + "train.bin", record(19, 99, 5) + record(0, 42, 7));
    folder.write(inner + "test.bin", record(3, 0, 9));
    folder.write(inner + "fine_label_names.txt", names("fine", 100) + "\n");  // as in the archive: an empty line
    folder.write(inner + "coarse_label_names.txt", names("coarse", 20));
    const auto fine = open_dataset("cifar100:" + folder.path(), Split::train);
    CHECK(fine->num_classes() == 100);
    CHECK(fine->labels()[99] == "fine99");
    CHECK((fine->label(0) == 99 && fine->label(1) == 42));
    const std::string expected = run(3072, 7);
    CHECK(pixels_of(*fine, 1) == std::vector<uint8_t>(expected.begin(), expected.end()));
    CHECK(fine->description().starts_with("CIFAR-100 train: 2 colour images of 32 x 32, 100 classes, from "));
    const auto coarse = open_dataset("cifar100-coarse:" + folder.path(), Split::train);
    CHECK(coarse->num_classes() == 20);
    CHECK(coarse->labels()[19] == "coarse19");
    CHECK((coarse->label(0) == 19 && coarse->label(1) == 0));
    CHECK(open_dataset("cifar100:" + folder.path(), Split::test)->size() == 1);
  }
}

TEST_CASE("a wrong CIFAR-100 file is one error that names the file", "[unit]") {
  const Folder folder;
  const std::string file = folder.file("test.bin"), data = "cifar100:" + folder.path();
  CHECK(failure(data, Split::test) == file + ": no such file");
  folder.write("test.bin", char(1) + run(3072));
  CHECK(failure(data, Split::test) == file + ": not CIFAR-100's binary version: 3073 bytes are not a multiple of 3074");
  folder.write("test.bin", record(3, 100, 0));
  CHECK(failure(data, Split::test) == file + ": image 0 has fine label 100; CIFAR-100 has fine classes 0 to 99");
  folder.write("test.bin", record(3, 9, 0) + record(20, 9, 0));
  CHECK(failure(data, Split::test) == file + ": image 1 has coarse label 20; CIFAR-100 has coarse classes 0 to 19");
  folder.write("test.bin", record(3, 9, 0));
  CHECK(failure(data, Split::test) == folder.file("fine_label_names.txt") + ": no such file");
  const std::string wrong = folder.file("fine_label_names.txt") + ": not the names of 100 classes, one a line";
  for (const std::string& text : {names("fine", 99), names("fine", 101), std::string(20'000, 'x'), std::string()}) {
    folder.write("fine_label_names.txt", text);
    CHECK(failure(data, Split::test) == wrong);
  }
}

TEST_CASE("data strings of another form name the valid ones", "[unit]") {
  const std::string known =
      "there are fashion-mnist[:DIR], mnist:DIR, kmnist:DIR, cifar10:DIR, cifar100:DIR, cifar100-coarse:DIR, "
      "imagefolder:DIR, multilabel:DIR, shapes, resized:DATA";
  CHECK(failure<ValueError>("fashion") == "unknown dataset 'fashion'; " + known);
  CHECK(failure<ValueError>("") == "unknown dataset ''; " + known);
  CHECK(failure<ValueError>("imagefolder") == "dataset imagefolder: the folder is missing; write imagefolder:DIR");
  CHECK(failure<ValueError>("coco:/x") == "dataset coco is not available yet; " + known);
  CHECK(failure<ValueError>("mnist") == "dataset mnist: the folder is missing; write mnist:DIR");
  CHECK(failure<ValueError>("cifar10:") == "dataset cifar10: the folder is missing; write cifar10:DIR");
  CHECK(failure<ValueError>("fashion-mnist:") ==
        "dataset fashion-mnist: the folder is missing; write fashion-mnist:DIR");
  CHECK(failure<ValueError>("multilabel") == "dataset multilabel: the folder is missing; write multilabel:DIR");
  CHECK(failure<ValueError>("resized") == "dataset resized: which one is missing; write resized:cifar10:DIR");
  CHECK(failure<ValueError>("shapes:x") == "dataset shapes has no files; write shapes instead of shapes:x");
}

TEST_CASE("resized: the same images, as if each had a size of its own", "[unit]") {
  const auto small = open_dataset("shapes", Split::test, 1), any = open_dataset("resized:shapes", Split::test, 1);
  CHECK(any->size() == small->size());
  CHECK(any->labels() == small->labels());
  CHECK(any->label(13) == small->label(13));
  CHECK(any->image(13).pixels == small->image(13).pixels);
  CHECK_FALSE(any->one_size());
  CHECK(any->preprocessing().crop == 0.875);
  CHECK(any->preprocessing().mean == std::array<double, 3>{0.485, 0.456, 0.406});
  CHECK(failure<ValueError>("resized:resized:shapes") ==
        "dataset resized:resized:shapes: the images of resized:shapes are resized anyway");
}

TEST_CASE("shapes: ten balanced classes, different images, equal bytes on every machine", "[unit]") {
  const auto train = open_dataset("shapes", Split::train), test = open_dataset("shapes", Split::test);
  const auto other = open_dataset("shapes", Split::train, 1);
  CHECK(train->size() == 10000);
  CHECK(test->size() == 2000);
  CHECK(train->num_classes() == 10);
  CHECK(std::set<std::string>(train->labels().begin(), train->labels().end()).size() == 10);
  std::set<std::vector<uint8_t>> seen;
  std::string first;
  for (int64_t i = 0; i < 200; ++i) {
    CHECK(train->label(i) == i % 10);
    const std::vector<uint8_t> image = pixels_of(*train, i);
    seen.insert(image);
    seen.insert(pixels_of(*test, i));
    seen.insert(pixels_of(*other, i));
    first.append(image.begin(), image.end());
    CHECK(image == pixels_of(*open_dataset("shapes", Split::train), i));
  }
  CHECK(seen.size() == 600);
  // Recorded from this code: another figure means that every result on this dataset changes.
  CHECK(data::sha256(std::as_bytes(std::span(first))) ==
        "43e9e26b45f8edf664488963f3b040b9923d7d93745967e47b9ef60154e6c7ee");
}

TEST_CASE("a pixel becomes (pixel / 255 - mean) / std", "[unit]") {
  const PixelTable table({.height = 1, .width = 1, .mean = {0.5, 0, 0.25}, .std = {0.25, 1, 2}});
  CHECK(table.channel(0)[0] == -2.0f);
  CHECK(table.channel(0)[255] == 2.0f);
  CHECK(table.channel(1)[51] == 0.2f);
  CHECK(table.channel(2)[255] == 0.375f);
  CHECK_THROWS_WITH(PixelTable({.height = 1, .width = 1, .std = {1, 0, 1}}),
                    "preprocessing: channel 1 has mean 0 and std 0; std must be positive, both finite");
  CHECK_THROWS_AS(PixelTable({.height = 1, .width = 1, .mean = {NAN, 0, 0}}), ValueError);
}
