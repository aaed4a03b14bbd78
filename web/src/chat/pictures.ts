const MAX_SIDE = 1600;
export const MAX_PICTURES = 8;
const MAX_FILE_BYTES = 64 * 1024 * 1024;

/** A picture file as a data URL, made smaller where it is large. Throws where it is no picture. */
export async function pictureOf(file: Blob): Promise<string> {
  if (file.size > MAX_FILE_BYTES) throw new Error("too large");
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  try {
    const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    const context = canvas.getContext("2d");
    if (context === null) throw new Error("no canvas");
    // What is transparent becomes white, as on paper.
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    // Drawings stay sharp and small as PNG, photographs as JPEG.
    const [png, jpeg] = await Promise.all([encoded(canvas, "image/png"), encoded(canvas, "image/jpeg")]);
    return await dataUrl(png.size <= jpeg.size ? png : jpeg);
  } finally {
    bitmap.close();
  }
}

function encoded(canvas: HTMLCanvasElement, type: string): Promise<Blob> {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob === null ? reject(new Error("not encoded")) : resolve(blob)), type, 0.9);
  });
}

function dataUrl(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => (typeof reader.result === "string" ? resolve(reader.result) : reject(new Error("not read")));
    reader.onerror = () => reject(new Error("not read"));
    reader.readAsDataURL(blob);
  });
}

/** The pictures among what was pasted or dropped. */
export function picturesIn(transfer: DataTransfer | null): File[] {
  return Array.from(transfer?.files ?? []).filter((file) => file.type.startsWith("image/"));
}
