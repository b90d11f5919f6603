// The cover picture: cut to a square and made small in the browser, which also leaves out where it was taken.

const SIDE = 1600;
const QUALITY = 0.9;

// Return a JPEG of a picture, and draw it where it is shown. Throws where the file is no picture.
export async function squareOf(file, shown) {
  const picture = await createImageBitmap(file);
  const side = Math.min(picture.width, picture.height);
  const from = [(picture.width - side) / 2, (picture.height - side) / 2, side, side];
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.min(SIDE, side);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // a JPEG has no transparency
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, ...from, 0, 0, canvas.width, canvas.height);
  shown.getContext("2d").drawImage(canvas, 0, 0, shown.width, shown.height);
  return new Promise((resolve, reject) => {
    canvas.toBlob((jpeg) => (jpeg ? resolve(jpeg) : reject(new Error("no picture"))), "image/jpeg", QUALITY);
  });
}
