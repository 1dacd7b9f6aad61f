#include <filesystem>
#include <fstream>

#include "data/datasets/dataset.h"
#include "data/image/image.h"
#include "tests/apps/run_program.h"
#include "tests/support/catch.h"

/// multilabel:DIR, images with several classes each.
using namespace vitrine;
using namespace vitrine::data;
using testing::ScratchFolder;
using Classes = std::vector<int64_t>;

namespace {

std::string failure(const ScratchFolder& folder, const std::string& list) {
  folder.write("train.csv", list);
  try {
    open_dataset("multilabel:" + folder.file(""), Split::train);
  } catch (const IoError& e) {
    std::string message = e.what();
    const std::string path = folder.file("");
    if (message.starts_with(path)) message.erase(0, path.size());
    return message;
  }
  return "no error";
}

}  // namespace

TEST_CASE("multilabel: lists of images with any number of classes", "[unit]") {
  const ScratchFolder folder("multilabel");
  const std::string data = "multilabel:" + folder.file("");
  folder.write("train.csv",
               "# what is seen\r\n"
               "a.png,dog,cat\r\n"
               "\n"
               "\"b, \"\"c\"\".png\",\"cat, small\"\n"
               "./sub//c.png\n"
               "d.png,cat,dog,cat");
  folder.write("val.csv", "a.png,dog\n");
  write_png(folder.file("a.png"), {.height = 2, .width = 3, .channels = 3, .pixels = std::vector<uint8_t>(18, 7)});
  const auto train = open_dataset(data, Split::train), val = open_dataset(data, Split::test);
  CHECK(train->labels() == std::vector<std::string>{"cat", "cat, small", "dog"});
  CHECK(val->labels() == train->labels());
  CHECK(train->multi_label());
  CHECK_FALSE(train->one_size());
  REQUIRE(train->size() == 4);
  CHECK(train->classes(0) == Classes{0, 2});
  CHECK(train->classes(1) == Classes{1});
  CHECK(train->classes(2).empty());
  CHECK(train->classes(3) == Classes{0, 2});
  CHECK(train->label(1) == 1);
  CHECK(train->label(2) == 0);
  CHECK(train->image(0).width == 3);
  CHECK_THROWS_AS(train->image(1), BadImage);
  CHECK_THROWS_AS(train->image(2), BadImage);
  REQUIRE(train->bad_images().size() == 2);
  CHECK(train->bad_images()[0].find("b, \"c\".png") != std::string::npos);
  CHECK(train->bad_images(1).size() == 1);

  // Classes in an order of one's own.
  folder.write("classes.txt", "dog\ncat, small\ncat\nbird\n");
  const auto ordered = open_dataset(data, Split::train);
  CHECK(ordered->labels() == std::vector<std::string>{"dog", "cat, small", "cat", "bird"});
  CHECK(ordered->classes(0) == Classes{0, 2});
}

TEST_CASE("multilabel: what is wrong with a list is said with its line", "[unit]") {
  const ScratchFolder folder("multilabelerrors");
  CHECK(failure(folder, "a.png,cat\n\"b.png,cat\n") == "train.csv, line 2: a quote is not closed");
  CHECK(failure(folder, "\"a\"b,cat\n") == "train.csv, line 1: a comma belongs behind a closing quote");
  CHECK(failure(folder, "a\"b,cat\n") == "train.csv, line 1: a field that holds a quote must stand in quotes");
  CHECK(failure(folder, "\n,cat\n") == "train.csv, line 2: the path of the image is missing");
  CHECK(failure(folder, "a.png,cat,\n") == "train.csv, line 1: an empty class");
  CHECK(failure(folder, "a.png,cat\nx/../a.png,dog\n") == "train.csv, line 2: x/../a.png is listed twice");
  CHECK(failure(folder, "/etc/a.png,cat\n") == "train.csv, line 1: /etc/a.png does not lie in the folder");
  CHECK(failure(folder, "x/../../a.png,cat\n") == "train.csv, line 1: x/../../a.png does not lie in the folder");
  CHECK(failure(folder, "# nothing\n") == "train.csv: lists no images");
  CHECK(failure(folder, "a.png\n") == "train.csv: no image has a class");
  folder.write("val.csv", "a.png,cat\nb.png,bird\n");
  CHECK(failure(folder, "a.png,cat\n") == "no error");
  CHECK_THROWS_WITH(open_dataset("multilabel:" + folder.file(""), Split::test),
                    folder.file("val.csv") + ", line 2: the class 'bird' is not one of train.csv");
  folder.write("classes.txt", "cat\ncat\n");
  CHECK(failure(folder, "a.png,cat\n") == "classes.txt: names a class twice");
  folder.write("classes.txt", "\n");
  CHECK(failure(folder, "a.png,cat\n") == "classes.txt: names no classes");
  CHECK_THROWS_WITH(open_dataset("multilabel:" + folder.file("none"), Split::train),
                    folder.file("none") + ": no such folder");
  std::filesystem::remove(folder.file("val.csv"));
  CHECK_THROWS_WITH(open_dataset("multilabel:" + folder.file(""), Split::test),
                    testing::Contains("val.csv: no such file; it lists images"));
}
